"""Files: `keras.saving`."""

from typing import TYPE_CHECKING

from graphcore.on_demand import declared, on_demand

if TYPE_CHECKING:
    from graphcore.saving.archive import load_model as load_model
    from graphcore.saving.archive import save_model as save_model
    from graphcore.saving.objects import deserialize_keras_object as deserialize_keras_object
    from graphcore.saving.objects import serialize_keras_object as serialize_keras_object
    from graphcore.saving.registration import CustomObjectScope as CustomObjectScope
    from graphcore.saving.registration import custom_object_scope as custom_object_scope
    from graphcore.saving.registration import get_custom_objects as get_custom_objects
    from graphcore.saving.registration import get_registered_name as get_registered_name
    from graphcore.saving.registration import get_registered_object as get_registered_object
    from graphcore.saving.registration import register_keras_serializable as register_keras_serializable
    from graphcore.saving.weights import load_weights as load_weights
    from graphcore.saving.weights import save_weights as save_weights

_MEMBERS = declared(__name__)

__all__ = _MEMBERS.names
__getattr__ = on_demand(__name__, _MEMBERS)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MEMBERS.names})
