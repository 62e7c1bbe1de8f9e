"""`.keras` files: a zip archive of data, stored uncompressed as Keras does, with nothing in it that is run."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphcore.layers.layer import Layer
from graphcore.saving.objects import deserialize_keras_object, serialize_keras_object
from graphcore.saving.traversal import join, saveables
from graphcore.saving.weights import WeightFileError, read_weights, write_weights

SUFFIX = ".keras"
METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
ASSETS = "assets"  # the folder of the files that layers have beside their weights: vocabularies
# The version of Keras whose format this is.
KERAS_VERSION = "3.15.1"
# A configuration is text about layers; the largest models need a few megabytes.
_LARGEST_CONFIG = 256 * 2**20
_MOST_EXPANSION = 1032  # what deflate can reach; Keras stores without compression


def save_model(model: Layer, filepath: Any, overwrite: bool = True, zipped: bool | None = None) -> None:
    """Write a model with its weights and training state.

    The file is written beside its place and moved there when it is complete.

    Args:
        model: the model.
        filepath: ends in `.keras`.
        overwrite: whether an existing file is replaced.
        zipped: kept for Keras's sake; the file is always an archive.

    Raises:
        ValueError: if the path does not end in `.keras`.
        FileExistsError: if the file exists and `overwrite` is false.
        TypeError, NotImplementedError: if a layer has no plain form.
    """
    path = Path(os.fspath(filepath))
    if path.suffix != SUFFIX:
        raise ValueError(
            f"The filename must end in `{SUFFIX}`. Received: filepath={filepath}. Fix: use `{path.stem}{SUFFIX}`, or "
            "`save_weights` for a `.weights.h5` file."
        )
    if path.exists() and not overwrite:
        raise FileExistsError(f"The file {path} exists. Fix: pass overwrite=True, or another path.")
    config = json.dumps(serialize_keras_object(model))
    saved = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    weights = io.BytesIO()
    write_weights(model, weights)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(METADATA, json.dumps({"keras_version": KERAS_VERSION, "date_saved": saved}))
            archive.writestr(CONFIG, config)
            archive.writestr(WEIGHTS, weights.getvalue())
            for name, text in _assets(model).items():
                archive.writestr(name, text)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Read a model that `save_model` or Keras wrote.

    Args:
        filepath: a `.keras` file.
        custom_objects: classes and functions of the user's by the names in the file.
        compile: whether the model is compiled as it was.
        safe_mode: kept for Keras's sake; loading never runs anything that is in the file.

    Raises:
        ValueError: if the file is no such archive, is larger than it declares, or names what is not known.
        FileNotFoundError: if there is no such file.
    """
    path = Path(os.fspath(filepath))
    if not path.exists():
        raise FileNotFoundError(
            f"There is no file {path}. Fix: check `filepath`; models are saved as `{SUFFIX}` files."
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no `{SUFFIX}` file. Fix: weights alone are read by `model.load_weights`.")
    with zipfile.ZipFile(path) as archive:
        config = json.loads(_member(archive, CONFIG, path, _LARGEST_CONFIG))
        weights = _member(archive, WEIGHTS, path, None)
        texts = {name: _text(archive, name, path) for name in archive.namelist() if name.startswith(f"{ASSETS}/")}
    compile_config = config.pop("compile_config", None)
    model = deserialize_keras_object(config, custom_objects)
    if not isinstance(model, Layer):
        raise ValueError(f"{path} holds no model but {type(model).__name__}.")
    if compile and compile_config:
        model.compile_from_config(compile_config)  # type: ignore[attr-defined]
    try:
        read_weights(model, io.BytesIO(weights), str(path))
    except WeightFileError as error:
        raise WeightFileError(f"The weights in {path} do not fit its own configuration: {error}") from error
    for place, item in saveables(model):
        prefix = join(ASSETS, place) + "/"
        own = {name[len(prefix) :]: text for name, text in texts.items() if name.startswith(prefix)}
        if own and hasattr(item, "load_asset_texts"):
            item.load_asset_texts(own)
    return model


def _assets(model: Layer) -> dict[str, str]:
    """The texts that layers have beside their weights, by their names in the archive."""
    found = {}
    for place, item in saveables(model):
        for name, text in item.assets().items() if hasattr(item, "assets") else ():
            found[f"{join(ASSETS, place)}/{name}"] = text
    return found


def _text(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    return "" if name.endswith("/") else _member(archive, name, path, _LARGEST_CONFIG).decode("utf-8")


def _member(archive: zipfile.ZipFile, name: str, path: Path, limit: int | None) -> bytes:
    """One file of the archive, after comparing what it declares with what is stored."""
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"{path} is no complete `{SUFFIX}` file: it has no `{name}`.") from None
    if entry.file_size > max(entry.compress_size, 1) * _MOST_EXPANSION or (
        limit is not None and entry.file_size > limit
    ):
        raise ValueError(
            f"{path}: `{name}` declares {entry.file_size} bytes but {entry.compress_size} are stored; it is not read."
        )
    with archive.open(entry) as stream:
        data = stream.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        raise ValueError(f"{path}: `{name}` declares {entry.file_size} bytes, but holds another number.")
    return data
