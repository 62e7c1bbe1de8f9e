"""`keras.preprocessing.sequence`."""

from graphcore.utils.arrays import pad_sequences as pad_sequences
