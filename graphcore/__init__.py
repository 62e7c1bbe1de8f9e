"""graphcore: a deep learning engine with the face of Keras that compiles whole training steps.

`import graphcore as keras` is meant to work for ordinary code.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
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

if TYPE_CHECKING:
    from graphcore import activations as activations
    from graphcore import callbacks as callbacks
    from graphcore import config as config
    from graphcore import constraints as constraints
    from graphcore import datasets as datasets
    from graphcore import dtype_policies as dtype_policies
    from graphcore import generation as generation
    from graphcore import initializers as initializers
    from graphcore import layers as layers
    from graphcore import losses as losses
    from graphcore import metrics as metrics
    from graphcore import models as models
    from graphcore import ops as ops
    from graphcore import optimizers as optimizers
    from graphcore import preprocessing as preprocessing
    from graphcore import random as random
    from graphcore import regularizers as regularizers
    from graphcore import saving as saving
    from graphcore import tree as tree
    from graphcore import utils as utils
    from graphcore.dtype_policies import DTypePolicy as DTypePolicy
    from graphcore.explanation import explain as explain
    from graphcore.initializers import Initializer as Initializer
    from graphcore.layers import Input as Input
    from graphcore.layers import InputSpec as InputSpec
    from graphcore.layers import Layer as Layer
    from graphcore.losses import Loss as Loss
    from graphcore.metrics import Metric as Metric
    from graphcore.models import Functional as Functional
    from graphcore.models import Model as Model
    from graphcore.models import Sequential as Sequential
    from graphcore.operation import Operation as Operation
    from graphcore.optimizers import Optimizer as Optimizer
    from graphcore.profiling import profile as profile
    from graphcore.regularizers import Regularizer as Regularizer
    from graphcore.tensor import KerasTensor as KerasTensor
    from graphcore.variable import Variable as Variable

__version__ = "0.1.0"


def version() -> str:
    """The version of graphcore."""
    return __version__


@functools.cache
def _on_demand() -> tuple[Callable[[str], object], list[str]]:
    """What finds the members above, each when it is first asked for, and all their names. So a program pays only for
    what it uses: everything together takes three times as long as NumPy."""
    from graphcore.on_demand import declared, on_demand  # here, since it needs the sister packages

    members = declared(__name__)
    return on_demand(__name__, members), members.names


def __getattr__(name: str) -> object:
    return _on_demand()[0](name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_on_demand()[1]})
