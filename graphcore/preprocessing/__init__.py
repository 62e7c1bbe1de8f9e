"""`keras.preprocessing`: older names of what is in `keras.utils`."""

from graphcore.preprocessing import sequence as sequence
from graphcore.utils.text_files import text_dataset_from_directory as text_dataset_from_directory
from graphcore.utils.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array
