"""`keras.utils`."""

from graphcore.utils.arrays import normalize as normalize
from graphcore.utils.arrays import pad_sequences as pad_sequences
from graphcore.utils.arrays import to_categorical as to_categorical
from graphcore.utils.seeds import set_random_seed as set_random_seed
from graphcore.utils.session import clear_session as clear_session
