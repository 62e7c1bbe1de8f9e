"""CIFAR-10: small colour images in ten classes (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

Keras downloads `cifar-10-python.tar.gz`, whose members are pickles, and unpacks it. A pickle is a program for
Python, so the *binary* version of the same images by the same author is read instead, member by member and
straight from the archive: it is nothing but bytes, one label and 3072 pixel values an image.
"""

from __future__ import annotations

import logging
import tarfile
import zlib
from pathlib import Path

import numpy as np

from graphcore.datasets.arrays import Array, expect, expect_equal_length, read_npz
from graphcore.datasets.files import DatasetCorruptError, RemoteFile, fetch, find_given, find_local

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

# Keras lists the hash of the python version only; this is the one TensorFlow Datasets publishes.
REMOTE = RemoteFile(
    name="cifar-10-binary.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    digest="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    size_limit=170_052_171,
)
SUBSET_NAME = "cifar10_6k_delta.npz"
FOLDER = "cifar-10-batches-bin"
TRAIN_MEMBERS = tuple(f"{FOLDER}/data_batch_{index}.bin" for index in range(1, 6))
TEST_MEMBER = f"{FOLDER}/test_batch.bin"
RECORD_BYTES = 1 + 3 * 32 * 32
MEMBER_LIMIT = 10_000 * RECORD_BYTES

logger = logging.getLogger(__name__)


def load_data() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Colour images as `(x_train, y_train), (x_test, y_test)`; `CLASS_NAMES` names the labels.

    Where the full archive is neither in `$GRAPHCORE_DATA` nor in the cache, but `$GRAPHCORE_DATA` holds the
    subset `cifar10_6k_delta.npz` (5000 images for training, 1000 for testing, each stored as horizontal
    differences), the subset is returned and a log message says so. Otherwise the archive is downloaded.

    Returns:
        uint8 arrays: images (50000, 32, 32, 3) with values 0 to 255 and labels (50000, 1) for training,
        10000 of each for testing.

    Raises:
        DatasetUnavailableError: if no file is on this machine and none can be downloaded.
        DatasetCorruptError: if a file is not what it has to be.
    """
    archive = find_local(REMOTE)
    subset = find_given(SUBSET_NAME)
    if archive is None and subset is not None:
        logger.warning("%s is not on this machine; using the subset %s", REMOTE.name, subset)
        return load_subset(subset)
    return load_archive(archive or fetch(REMOTE))


def load_archive(path: Path) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Both parts out of the binary archive at `path`."""
    parts: dict[str, tuple[Array, Array]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.name in (*TRAIN_MEMBERS, TEST_MEMBER):
                    parts[member.name] = read_member(path, archive, member)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DatasetCorruptError(f"{path}: not a readable tar.gz archive: {error}") from error
    missing = [name for name in (*TRAIN_MEMBERS, TEST_MEMBER) if name not in parts]
    if missing:
        raise DatasetCorruptError(f"{path}: has no member {', '.join(missing)}")
    images = np.concatenate([parts[name][0] for name in TRAIN_MEMBERS])
    labels = np.concatenate([parts[name][1] for name in TRAIN_MEMBERS])
    return (images, labels), parts[TEST_MEMBER]


def read_member(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[Array, Array]:
    """Images (n, 32, 32, 3) and labels (n, 1) of one batch file."""
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        raise DatasetCorruptError(f"{path}: {member.name} is not an ordinary file")
    if member.size > MEMBER_LIMIT or member.size % RECORD_BYTES:
        expected = f"a multiple of {RECORD_BYTES} up to {MEMBER_LIMIT}"
        raise DatasetCorruptError(f"{path}: {member.name} has {member.size} bytes, expected {expected}")
    content = stream.read(member.size)
    if len(content) != member.size:
        raise DatasetCorruptError(f"{path}: {member.name} ends after {len(content)} of {member.size} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, :1].copy()


def load_subset(path: Path) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Both parts out of the subset: images (n, 3, 32, 32) as differences along each row, modulo 256."""
    arrays = read_npz(path, ("dx_train", "y_train", "dx_test", "y_test"))
    parts = []
    for part in ("train", "test"):
        differences, labels = arrays[f"dx_{part}"], arrays[f"y_{part}"]
        expect(path, f"dx_{part}", differences, (None, 3, 32, 32), "uint8")
        expect(path, f"y_{part}", labels, (None,), "uint8")
        expect_equal_length(path, {f"dx_{part}": differences, f"y_{part}": labels})
        images = np.cumsum(differences.transpose(0, 2, 3, 1), axis=2, dtype=np.uint8)
        parts.append((np.ascontiguousarray(images), labels.reshape(-1, 1)))
    return parts[0], parts[1]
