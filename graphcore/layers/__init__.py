"""The layers, under Keras's names. One file a layer, one line here."""

from graphcore.layers.input_layer import Input as Input
from graphcore.layers.input_layer import InputLayer as InputLayer
from graphcore.layers.input_spec import InputSpec as InputSpec
from graphcore.layers.layer import Layer as Layer
