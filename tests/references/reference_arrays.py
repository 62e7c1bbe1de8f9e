"""Read and write sets of reference cases: one JSON index beside one .npz of float32 arrays.

The structure is documented in README.md of this folder. Tests use `load(name)`; the scripts `make_*.py`
use `CaseWriter`. Only numpy and the standard library are needed, so tests run without Keras.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
INTEGER_DTYPES = ("int32", "int64", "uint8", "bool")

Case = dict[str, Any]


@dataclass(frozen=True)
class ReferenceSet:
    """Cases by name, and the arrays their keys name."""

    name: str
    versions: Mapping[str, str]
    cases: Mapping[str, Case]
    arrays: Mapping[str, np.ndarray]

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]


def load(name: str) -> ReferenceSet:
    """Read `name`.json and `name`.npz of this folder; arrays are read-only."""
    index = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    for array in arrays.values():
        array.setflags(write=False)
    return ReferenceSet(name, index["versions"], index["cases"], arrays)


@dataclass
class CaseWriter:
    """Collects cases; equal arrays are stored once, whatever case they belong to."""

    name: str
    cases: dict[str, Case] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    _keys: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def store(self, value: Any) -> str:
        """Keep one array and return its key. Floating arrays are rounded to float32."""
        array = np.asarray(value)
        if array.dtype.name not in INTEGER_DTYPES:
            array = array.astype(np.float32)
        identity = (array.dtype.name, array.shape, array.tobytes())
        if identity not in self._keys:
            self._keys[identity] = f"a{len(self.arrays):04d}"
            self.arrays[self._keys[identity]] = array
        return self._keys[identity]

    def add(self, case: str, **entry: Any) -> None:
        """Add one case; a name used twice is an error."""
        if case in self.cases:
            raise ValueError(f"reference case {case!r} is defined twice; give one of them another name")
        self.cases[case] = entry

    def write(self, versions: Mapping[str, str]) -> None:
        """Write both files and say how large they are."""
        lines = [f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in self.cases.items()]
        header = json.dumps(dict(versions))
        text = f'{{\n  "versions": {header},\n  "cases": {{\n' + ",\n".join(lines) + "\n  }\n}\n"
        (FOLDER / f"{self.name}.json").write_text(text, encoding="utf-8")
        arrays_path = FOLDER / f"{self.name}.npz"
        np.savez_compressed(arrays_path, **self.arrays)
        size = arrays_path.stat().st_size
        print(f"{self.name}: {len(self.cases)} cases, {len(self.arrays)} arrays, {size} bytes")
