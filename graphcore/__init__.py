"""graphcore: a deep learning engine with the face of Keras that compiles whole training steps.

`import graphcore as keras` is meant to work for ordinary code.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING


def _refuse_shadowed_packages() -> None:
    """Raise ImportError if a file of the user's takes the place of one of graphcore's sister packages.

    `compiler` and `runtime` are imported by these names; a script `compiler.py` beside the user's program would
    be found first and fail far from its cause.
    """
    root = Path(__file__).resolve().parent.parent
    for name in ("compiler", "runtime"):
        spec = importlib.util.find_spec(name)
        origin = None if spec is None else spec.origin
        if origin is None or Path(origin).resolve() == root / name / "__init__.py":
            continue
        raise ImportError(
            f"graphcore needs its own package '{name}', but Python finds {origin} under that name first. Fix: rename "
            f"that file or folder, or start Python from another folder."
        )


_refuse_shadowed_packages()

from graphcore import activations as activations  # noqa: E402 (the check above must come first)
from graphcore import callbacks as callbacks  # noqa: E402
from graphcore import config as config  # noqa: E402
from graphcore import constraints as constraints  # noqa: E402
from graphcore import dtype_policies as dtype_policies  # noqa: E402
from graphcore import initializers as initializers  # noqa: E402
from graphcore import layers as layers  # noqa: E402
from graphcore import losses as losses  # noqa: E402
from graphcore import metrics as metrics  # noqa: E402
from graphcore import models as models  # noqa: E402
from graphcore import ops as ops  # noqa: E402
from graphcore import optimizers as optimizers  # noqa: E402
from graphcore import random as random  # noqa: E402
from graphcore import regularizers as regularizers  # noqa: E402
from graphcore import saving as saving  # noqa: E402
from graphcore import tree as tree  # noqa: E402
from graphcore import utils as utils  # noqa: E402
from graphcore.dtype_policies import DTypePolicy as DTypePolicy  # noqa: E402
from graphcore.initializers import Initializer as Initializer  # noqa: E402
from graphcore.layers import Input as Input  # noqa: E402
from graphcore.layers import InputSpec as InputSpec  # noqa: E402
from graphcore.layers import Layer as Layer  # noqa: E402
from graphcore.losses import Loss as Loss  # noqa: E402
from graphcore.metrics import Metric as Metric  # noqa: E402
from graphcore.models import Functional as Functional  # noqa: E402
from graphcore.models import Model as Model  # noqa: E402
from graphcore.models import Sequential as Sequential  # noqa: E402
from graphcore.operation import Operation as Operation  # noqa: E402
from graphcore.optimizers import Optimizer as Optimizer  # noqa: E402
from graphcore.regularizers import Regularizer as Regularizer  # noqa: E402
from graphcore.tensor import KerasTensor as KerasTensor  # noqa: E402
from graphcore.variable import Variable as Variable  # noqa: E402

if TYPE_CHECKING:
    from graphcore import datasets as datasets

__version__ = "0.1.0"


def version() -> str:
    """The version of graphcore."""
    return __version__


def __getattr__(name: str) -> ModuleType:
    """Import `graphcore.datasets` when it is first used: what it needs to fetch files costs a tenth of the import."""
    if name == "datasets":
        return importlib.import_module("graphcore.datasets")
    raise AttributeError(f"module 'graphcore' has no attribute {name!r}")
