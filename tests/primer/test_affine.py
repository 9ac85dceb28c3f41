"""affine: scale, zero point, rounding and clipping."""

import numpy as np
import pytest

from intents.primer import affine


@pytest.mark.parametrize(
    ("found", "scale", "zero_point"),
    [
        (affine.Affine.symmetric(12.7), 0.1, 0),
        (affine.Affine.asymmetric(-1.0, 1.55), 0.01, 100),
        (affine.Affine.asymmetric(2.0, 5.1), 0.02, 0),  # the range is widened down to zero
        (affine.Affine.asymmetric(-5.1, -1.0), 0.02, 255),  # and up
        (affine.Affine.asymmetric(-0.27, 1.0, levels=128), 0.01, 27),
    ],
)
def test_scale_and_zero_point(found: affine.Affine, scale: float, zero_point: int) -> None:
    assert found.scale == pytest.approx(scale)
    assert found.zero_point == zero_point
    assert found.restore(np.array(zero_point)) == 0


def test_values_go_to_the_nearest_integer_and_beyond_the_range_to_the_last() -> None:
    found = affine.Affine(0.5, 10, 0, 15)
    values = np.array([-5.0, -5.3, -1.2, 0.0, 0.2, 0.3, 2.5, 9.0])
    assert found.quantize(values).tolist() == [0, 0, 8, 10, 10, 11, 15, 15]
    assert found.clipped(values).tolist() == [False, True, *[False] * 5, True]
    assert found.rms_error(np.array([0.0, 0.2, 9.0])) == pytest.approx(np.sqrt((0.2**2 + 6.5**2) / 3))
