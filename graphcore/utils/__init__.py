"""`keras.utils`."""

from typing import TYPE_CHECKING

from graphcore.on_demand import declared as _declared
from graphcore.on_demand import on_demand as _on_demand
from graphcore.training.data.arrays import pack_x_y_sample_weight as pack_x_y_sample_weight
from graphcore.training.data.arrays import unpack_x_y_sample_weight as unpack_x_y_sample_weight
from graphcore.training.data.py_dataset import PyDataset as PyDataset
from graphcore.training.progress_bar import Progbar as Progbar
from graphcore.utils.arrays import normalize as normalize
from graphcore.utils.arrays import pad_sequences as pad_sequences
from graphcore.utils.arrays import to_categorical as to_categorical
from graphcore.utils.buckets import bucket_by_sequence_length as bucket_by_sequence_length
from graphcore.utils.seeds import set_random_seed as set_random_seed
from graphcore.utils.session import clear_session as clear_session
from graphcore.utils.text_files import text_dataset_from_directory as text_dataset_from_directory
from graphcore.utils.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array

Sequence = PyDataset  # the older name

if TYPE_CHECKING:
    from graphcore.utils.model_plot import model_to_dot as model_to_dot
    from graphcore.utils.model_plot import plot_model as plot_model

_MEMBERS = _declared(__name__)
__getattr__ = _on_demand(__name__, _MEMBERS)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MEMBERS.names})
