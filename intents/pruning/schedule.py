"""How sparse a model is due to be while it is pruned in training."""


def cubic_sparsity(progress: float, final: float, start: float, end: float) -> float:
    """The sparsity due at `progress` (0 to 1 of training): 0 until `start`, cubic, `final` from `end` on.

    Zhu and Gupta (2017), equation 1: s = final · (1 − (1 − t)³), t the share of the ramp that is done.
    """
    if progress >= end:
        return final
    done = max(0.0, (progress - start) / (end - start))
    return final * (1 - (1 - done) ** 3)
