"""Kernels made by hand, and programs of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def native() -> ModuleType:
    """The module native_kernels.py beside this file; tests are no package, so it is loaded by its path."""
    path = Path(__file__).with_name("native_kernels.py")
    specification = importlib.util.spec_from_file_location("runtime_native_kernels", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
