"""pieces: what the encoder makes of each, one by one, and how alike two are."""

from pathlib import Path

import numpy as np
import torch

from intents.data.corpus import Intents
from intents.models import checkpoints, pieces

INTENTS = Intents.of({"daily": ["alarm"]})


def test_a_piece_is_read_as_a_query_of_its_own(tiny_checkpoint: Path) -> None:
    model, tokenizer = (
        checkpoints.load_classifier(tiny_checkpoint, INTENTS),
        checkpoints.load_tokenizer(tiny_checkpoint),
    )
    found = pieces.as_read(model, tokenizer)
    assert found.shape == (pieces.looked_up(model).shape[0], model.config.hidden_size)
    for number in (5, 600, len(found) - 1):  # of the first, the second and the last batch
        word = torch.tensor([[tokenizer.cls_token_id, number, tokenizer.sep_token_id]])
        with torch.no_grad():
            expected = model.eval().base_model(word).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=1e-5)


def test_looking_up_changes_nothing_of_the_model(tiny_checkpoint: Path) -> None:
    model = checkpoints.load_classifier(tiny_checkpoint, INTENTS)
    pieces.looked_up(model).zero_()
    assert model.get_input_embeddings().weight.any()


def test_directions_have_length_one_and_both_tables_the_same_say() -> None:
    torch.manual_seed(0)
    tables = [torch.randn(30, 4) + 5, 100 * torch.randn(30, 7)]
    found = pieces.directions(tables).numpy()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    centred = [table.numpy() - table.numpy().mean(axis=0) for table in tables]
    cosines = [rows @ rows.T / np.outer(*[np.linalg.norm(rows, axis=1)] * 2) for rows in centred]
    np.testing.assert_allclose(found @ found.T, sum(cosines) / 2, atol=1e-5)
