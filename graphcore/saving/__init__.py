"""Files: `keras.saving`."""

from graphcore.saving.weights import load_weights as load_weights
from graphcore.saving.weights import save_weights as save_weights
