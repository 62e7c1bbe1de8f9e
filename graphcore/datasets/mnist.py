"""MNIST: handwritten digits (LeCun, Cortes, Burges; http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

from graphcore.datasets.arrays import Array, expect, expect_equal_length, read_npz
from graphcore.datasets.files import RemoteFile, fetch

# The hash is the one in Keras's own loader.
REMOTE = RemoteFile(
    name="mnist.npz",
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    digest="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    size_limit=12_000_000,
)


def load_data(path: str = "mnist.npz") -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Digits as `(x_train, y_train), (x_test, y_test)`.

    Args:
        path: file name looked for in `$GRAPHCORE_DATA` and the cache, as in Keras.

    Returns:
        uint8 arrays: images (60000, 28, 28) with values 0 to 255 and labels (60000,) for training, 10000 of
        each for testing.

    Raises:
        DatasetUnavailableError: if the file is not on this machine and cannot be downloaded.
        DatasetCorruptError: if the file is not what it has to be.
    """
    remote = RemoteFile(path, REMOTE.url, REMOTE.digest, REMOTE.size_limit)
    found = fetch(remote)
    arrays = read_npz(found, ("x_train", "y_train", "x_test", "y_test"))
    for part in ("train", "test"):
        expect(found, f"x_{part}", arrays[f"x_{part}"], (None, 28, 28), "uint8")
        expect(found, f"y_{part}", arrays[f"y_{part}"], (None,), "uint8")
        expect_equal_length(found, {name: arrays[name] for name in (f"x_{part}", f"y_{part}")})
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
