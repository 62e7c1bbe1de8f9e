"""One seed for everything random."""

from __future__ import annotations

import random as python_random

import numpy as np

from graphcore.random import set_global_seed


def set_random_seed(seed: int) -> None:
    """Seed Python's generator, NumPy's and the global generator of `graphcore.random`.

    Layers made afterwards without a seed draw theirs from Python's generator, in the order of construction.

    Raises:
        ValueError: if the seed is no integer in [0, 2**32).
    """
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"Expected `seed` argument to be an integer in [0, 2**32). Received: seed={seed!r}")
    python_random.seed(int(seed))
    np.random.seed(int(seed))
    set_global_seed(int(seed))
