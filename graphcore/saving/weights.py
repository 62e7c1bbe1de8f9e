"""Weight files in Keras 3's layout: HDF5, one group per object, its variables in `vars/0`, `vars/1`, ..."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphcore.layers.layer import Layer
from graphcore.saving.traversal import join, saveables
from graphcore.variable import Variable

if TYPE_CHECKING:
    import h5py

SUFFIX = ".weights.h5"


class WeightFileError(ValueError):
    """A weight file holds something that must not be read, or not what the model needs."""


def save_weights(model: Layer, filepath: Any, overwrite: bool = True) -> None:
    """Write the state of a model, its layers and its optimizer.

    The file is written beside its place and moved there when it is complete, so no reader sees half of it.

    Raises:
        ValueError: if the path does not end in `.weights.h5`.
        FileExistsError: if the file exists and `overwrite` is false.
    """
    path = _checked_path(filepath)
    if path.exists() and not overwrite:
        raise FileExistsError(f"The file {path} exists. Fix: pass overwrite=True, or another path.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write_weights(model, partial)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def load_weights(model: Layer, filepath: Any, skip_mismatch: bool = False) -> None:
    """Read the state of a model, its layers and (if the file has it) its optimizer.

    Everything is read and checked before anything is changed.

    Raises:
        WeightFileError: if the file holds links or declares more than it stores, or does not fit the model
            (with `skip_mismatch`, objects that do not fit are left alone, with a warning).
        ValueError: if the path does not end in `.weights.h5`.
        FileNotFoundError: if there is no such file.
    """
    path = _checked_path(filepath)
    if not path.exists():
        raise FileNotFoundError(f"There is no weight file {path}.")
    read_weights(model, path, str(path), skip_mismatch)


def write_weights(model: Layer, target: Any) -> None:
    """Write the state of a model to a path or a binary stream."""
    # h5py costs as much to import as the rest of graphcore; only files need it.
    import h5py

    with h5py.File(target, "w") as file:
        for place, item in saveables(model):
            _write(file, place, item)


def read_weights(model: Layer, source: Any, path: str, skip_mismatch: bool = False) -> None:
    """Read the state of a model from a path or a binary stream; `path` is for messages."""
    import h5py

    found: list[tuple[Any, dict[str, np.ndarray[Any, Any]]]] = []
    failures: list[str] = []
    with h5py.File(source, "r") as file:
        names = _check_links(file, path)
        for place, item in saveables(model):
            if _is_optional(item) and join(place, "vars") not in names:
                continue
            group = join(place, "vars")
            try:
                stored = _read(file[group], path) if group in names else {}
                _check_fit(item, stored, place)
                found.append((item, stored))
            except WeightFileError:
                raise
            except ValueError as error:
                failures.append(f"{place or type(item).__name__}: {error}")
    if failures:
        _report(failures, path, skip_mismatch)
    for item, stored in found:
        item.load_own_variables(stored)


def _checked_path(filepath: Any) -> Path:
    path = Path(os.fspath(filepath))
    if not path.name.endswith(SUFFIX):
        raise ValueError(f"The filename must end in `{SUFFIX}`. Received: filepath={filepath}")
    return path


def _report(failures: list[str], path: str, skip_mismatch: bool) -> None:
    message = f"{len(failures)} object(s) could not be loaded from {path}:\n" + "\n".join(failures)
    if not skip_mismatch:
        raise WeightFileError(
            message + "\nNothing was changed. Fix: build the same model that the file was saved from."
        )
    warnings.warn(message, stacklevel=4)


# -- writing -----------------------------------------------------------------------------------------------


class _Store(dict[str, Any]):
    """What `save_own_variables` of an object fills."""


def _write(file: h5py.File, place: str, item: Any) -> None:
    store = _Store()
    if isinstance(item, Layer) or hasattr(item, "save_own_variables"):
        item.save_own_variables(store)
    if not store:
        # Keras makes groups only where there is state; but the file always has one for the object itself.
        if not place:
            file.create_group("vars")
        return
    group = file.create_group(join(place, "vars"))
    if getattr(item, "name", None):
        group.attrs["name"] = item.name
    for key, value in store.items():
        group[key] = value.array if isinstance(value, Variable) else np.asarray(value)


# -- reading -----------------------------------------------------------------------------------------------


def _check_links(file: h5py.File, path: str) -> set[str]:
    """Names of everything in the file.

    Raises:
        WeightFileError: if there is a soft or external link, a hard link to something already met, or an
            object that is neither group nor dataset.
    """
    import h5py

    names: set[str] = set()
    addresses: set[int] = set()
    pending: list[tuple[str, Any]] = [("", file)]
    while pending:
        prefix, group = pending.pop()
        for name in group:
            full = join(prefix, name)
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise WeightFileError(
                    f"{path}: '{full}' is a {type(link).__name__}; weight files may not refer to other places or files."
                )
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in addresses or not isinstance(item, (h5py.Group, h5py.Dataset)):
                raise WeightFileError(f"{path}: '{full}' is a second name of another object or of an unknown kind.")
            addresses.add(address)
            names.add(full)
            if isinstance(item, h5py.Group):
                pending.append((full, item))
    return names


def _read(group: Any, path: str) -> dict[str, np.ndarray[Any, Any]]:
    return {name: _read_dataset(group[name], f"{group.name}/{name}", path) for name in group}


def _read_dataset(dataset: Any, name: str, path: str) -> np.ndarray[Any, Any]:
    """A dataset's numbers, after checking that the file really holds as many as it declares."""
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        raise WeightFileError(f"{path}: '{name}' must be a dataset. Received: {type(dataset).__name__}")
    if dataset.is_virtual or dataset.external:
        raise WeightFileError(f"{path}: the numbers of '{name}' lie in another file, which is not allowed.")
    if dataset.dtype.kind not in "biuf":
        raise WeightFileError(f"{path}: '{name}' must hold numbers. Received: dtype {dataset.dtype}")
    declared = int(dataset.size) * dataset.dtype.itemsize
    stored = int(dataset.id.get_storage_size())
    most = stored if dataset.chunks is None else stored * 1032  # the most that deflate can expand to
    if declared > most:
        raise WeightFileError(f"{path}: '{name}' declares {declared} bytes, but the file holds {stored}.")
    return np.asarray(dataset[()])


def _is_optional(item: Any) -> bool:
    return not isinstance(item, Layer)


def _check_fit(item: Any, stored: Mapping[str, np.ndarray[Any, Any]], place: str) -> None:
    """Raise ValueError if an object cannot take these arrays."""
    if not isinstance(item, Layer):
        return
    probe = dict(stored)
    own = list(_own(item))
    if not own and not probe:
        return
    if type(item).load_own_variables is not Layer.load_own_variables:
        return  # a layer of the user's that knows its own layout
    if len(own) != len(probe):
        hint = "" if item.built else " The layer is not built: call the model on data, or `build(input_shape)`, first."
        raise ValueError(
            f"layer '{item.name}' expected {len(own)} variables {[v.name for v in own]}, but the file has "
            f"{len(probe)}.{hint}"
        )
    for i, variable in enumerate(own):
        array = probe.get(str(i))
        if array is None or array.shape != variable.shape:
            raise ValueError(
                f"variable '{variable.path}' has shape {variable.shape}, but the file has "
                f"{'none' if array is None else array.shape}"
            )


def _own(layer: Layer) -> Iterator[Variable]:
    from graphcore.layers.tracking import own_variables

    yield from own_variables(layer)
