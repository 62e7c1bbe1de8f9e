"""Fashion-MNIST: articles of clothing (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747).

MIT licence, Zalando SE.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from graphcore.datasets.arrays import Array
from graphcore.datasets.files import DatasetCorruptError, RemoteFile, fetch

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

BASE_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# Keras checks no hash here; these are the SHA-256 that TensorFlow Datasets publishes for the same four files.
HASHES = {
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
}
SIZE_LIMIT = 30_000_000
UNPACKED_LIMIT = 64_000_000
IMAGE_MAGIC, LABEL_MAGIC = 0x00000803, 0x00000801


def load_data() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Images of clothing as `(x_train, y_train), (x_test, y_test)`; `CLASS_NAMES` names the labels.

    The four files are looked for below `fashion-mnist/` in each folder, as Keras caches them.

    Returns:
        uint8 arrays: images (60000, 28, 28) with values 0 to 255 and labels (60000,) for training, 10000 of
        each for testing.

    Raises:
        DatasetUnavailableError: if a file is not on this machine and cannot be downloaded.
        DatasetCorruptError: if a file is not what it has to be.
    """
    return load_part("train"), load_part("t10k")


def load_part(prefix: str) -> tuple[Array, Array]:
    """Images and labels of one part, `train` or `t10k`."""
    labels_path = fetch_file(f"{prefix}-labels-idx1-ubyte.gz")
    images_path = fetch_file(f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(labels_path, LABEL_MAGIC, ())
    images = read_idx(images_path, IMAGE_MAGIC, (28, 28))
    if len(labels) != len(images):
        raise DatasetCorruptError(f"{labels_path} has {len(labels)} labels for {len(images)} images")
    return images, labels


def fetch_file(name: str) -> Path:
    """Path of one of the four files."""
    # The plain names are those of MNIST's own files too, hence the folder.
    return fetch(RemoteFile(f"fashion-mnist/{name}", BASE_URL + name, HASHES[name], SIZE_LIMIT))


def read_idx(path: Path, magic: int, item: tuple[int, ...]) -> Array:
    """The uint8 array (n, *item) in a gzipped IDX file: big-endian magic, sizes, then the values."""
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(UNPACKED_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetCorruptError(f"{path}: not a readable gzip file: {error}") from error
    header = struct.Struct(f">{2 + len(item)}I")
    if len(content) < header.size:
        raise DatasetCorruptError(f"{path}: only {len(content)} bytes, shorter than an IDX header")
    found, count, *sizes = header.unpack_from(content)
    if found != magic or tuple(sizes) != item:
        expected_text = f"IDX {magic:#010x} with items of shape {item}"
        raise DatasetCorruptError(f"{path}: expected {expected_text}, received {found:#010x}, {tuple(sizes)}")
    expected = header.size + count * int(np.prod(item, dtype=np.int64))
    if len(content) != expected:
        raise DatasetCorruptError(f"{path}: {count} items need {expected} bytes, received {len(content)}")
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(count, *item).copy()
