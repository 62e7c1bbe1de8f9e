"""Models: `keras.models`."""

from typing import TYPE_CHECKING

from graphcore.models.functional import Functional as Functional
from graphcore.models.model import Model as Model
from graphcore.models.sequential import Sequential as Sequential
from graphcore.on_demand import declared, on_demand
from graphcore.saving.objects import MODEL_CLASSES

if TYPE_CHECKING:
    from graphcore.models.cloning import clone_model as clone_model
    from graphcore.models.cloning import model_from_json as model_from_json
    from graphcore.saving.archive import load_model as load_model
    from graphcore.saving.archive import save_model as save_model

MODEL_CLASSES.update({"Functional": Functional, "Model": Model, "Sequential": Sequential})

_MEMBERS = declared(__name__)

__all__ = ["Functional", "Model", "Sequential", *_MEMBERS.names]
__getattr__ = on_demand(__name__, _MEMBERS)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MEMBERS.names})
