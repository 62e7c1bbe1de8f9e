"""Texts in folders, one for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphcore.utils.arrays import to_categorical
from graphcore.utils.batches import Array, shuffled_batches

__all__ = ["text_dataset_from_directory"]


def text_dataset_from_directory(
    directory: Any,
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Batches of the `.txt` files in a folder, read when they are needed.

    Args:
        directory: has one folder for each class with `labels="inferred"`.
        labels: "inferred", numbers of the files' classes in the order of their paths, or None.
        label_mode: 'int': int32 (batch,); 'binary': float32 (batch, 1); 'categorical': float32 (batch, classes);
            None: texts alone.
        class_names: names of the folders in the order of the class numbers; in alphabetical order by default.
        batch_size: texts in a batch; None: single texts.
        max_length: longer texts are cut to so many bytes.
        shuffle: whether the files are shuffled, and come in another order at every pass.
        seed: of these orders; needed for a split of shuffled files.
        validation_split: the share of the files, the last ones, that is for validation.
        subset: "training", "validation" or "both" (a list of two), with `validation_split`.
        follow_links: whether to visit folders that links point to.
        format: kept for Keras's sake.
        verbose: whether to print how many files there are.

    Returns:
        An iterable of arrays of str, or of pairs with labels; its `class_names` are those of the classes.

    Raises:
        ValueError: arguments that do not fit each other, no files, or another number of labels than of files.
    """
    _check(labels, label_mode, class_names, validation_split, subset, shuffle, seed)
    if labels is None or label_mode is None:
        labels = label_mode = None
    paths, numbers, names = _found(Path(directory), labels, class_names, follow_links)
    if verbose:
        print(f"Found {len(paths)} files" + ("." if names is None else f" belonging to {len(names)} classes."))
    if label_mode == "binary" and names is not None and len(names) != 2:
        raise ValueError(f"With `label_mode='binary'`, there must be exactly 2 classes. Received: {names}")
    order = np.random.default_rng(seed).permutation(len(paths)) if shuffle else np.arange(len(paths))
    first = len(paths) - int((validation_split or 0) * len(paths))
    parts = {"training": order[:first], "validation": order[first:]}
    wanted = [order] if subset is None else [parts[name] for name in parts if subset in (name, "both")]
    made = []
    for place, part in enumerate(wanted):
        if not len(part):
            raise ValueError(f"No text files found in directory {directory} for this subset. Allowed format: .txt")
        own = None if numbers is None else numbers[part]
        make = _Reader([paths[i] for i in part], own, label_mode, names, max_length)
        made.append(shuffled_batches(len(part), batch_size, make, shuffle and place == 0, seed, names))
    return made if subset == "both" else made[0]


def _check(
    labels: Any, mode: Any, names: Any, split: float | None, subset: str | None, shuffle: bool, seed: int | None
) -> None:
    if labels not in ("inferred", None) and not isinstance(labels, (list, tuple)):
        raise ValueError(f"`labels` must be 'inferred', None, or a list of class numbers. Received: labels={labels!r}")
    if names and labels != "inferred":
        raise ValueError(f"`class_names` goes with `labels='inferred'`. Received: labels={labels!r}")
    if mode not in ("int", "categorical", "binary", None):
        raise ValueError(f"`label_mode` must be 'int', 'categorical', 'binary', or None. Received: label_mode={mode!r}")
    if (split is None) != (subset is None) or (split is not None and not 0 < split < 1):
        raise ValueError(
            "`validation_split`, between 0 and 1, and `subset` go together. "
            f"Received: validation_split={split} and subset={subset!r}"
        )
    if subset not in (None, "training", "validation", "both"):
        raise ValueError(f"`subset` must be 'training', 'validation' or 'both'. Received: subset={subset!r}")
    if split is not None and shuffle and seed is None:
        raise ValueError("With `validation_split` and `shuffle`, a `seed` keeps the two subsets apart. Pass one.")


def _found(
    directory: Path, labels: Any, class_names: Sequence[str] | None, follow_links: bool
) -> tuple[list[Path], Array | None, list[str] | None]:
    """Files in order, their class numbers and the names of the classes."""
    if labels != "inferred":
        paths = _texts_in(directory, follow_links)
        if labels is None:
            return paths, None, None
        if len(labels) != len(paths):
            raise ValueError(
                f"Expected as many `labels` as files. Received: {len(labels)} labels, but {len(paths)} files in "
                f"{directory}"
            )
        return paths, np.asarray(labels, np.int32), [str(label) for label in sorted(set(labels))]
    folders = sorted(path.name for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    if class_names is not None and not set(class_names) <= set(folders):
        raise ValueError(
            f"The `class_names` passed did not match the names of the subdirectories of {directory}. "
            f"Expected: {folders} (or a subset of it). Received: class_names={class_names}"
        )
    names = folders if class_names is None else list(class_names)
    found = [(path, number) for number, name in enumerate(names) for path in _texts_in(directory / name, follow_links)]
    return [path for path, _ in found], np.array([number for _, number in found], np.int32), names


def _texts_in(directory: Path, follow_links: bool) -> list[Path]:
    walked = sorted(os.walk(directory, followlinks=follow_links), key=lambda entry: entry[0])
    return [Path(root) / name for root, _, names in walked for name in sorted(names) if name.lower().endswith(".txt")]


class _Reader:
    """Reads the texts of a batch, with their labels."""

    def __init__(
        self, paths: list[Path], labels: Array | None, mode: str | None, names: list[str] | None, length: int | None
    ) -> None:
        self.paths, self.labels, self.mode, self.length = paths, labels, mode, length
        self.classes = 0 if names is None else len(names)

    def __call__(self, numbers: Array) -> Any:
        found = [self._text(int(number)) for number in np.atleast_1d(numbers)]
        texts: Any = np.array(found, object) if numbers.ndim else found[0]
        if self.labels is None:
            return texts
        labels = self.labels[numbers]
        if self.mode == "binary":
            labels = np.asarray(labels, np.float32)[..., None]
        elif self.mode == "categorical":
            labels = to_categorical(np.atleast_1d(labels), self.classes).astype(np.float32)
            labels = labels if numbers.ndim else labels[0]
        return texts, labels

    def _text(self, number: int) -> str:
        data = self.paths[number].read_bytes()
        return (data if self.length is None else data[: self.length]).decode("utf-8", errors="replace")


