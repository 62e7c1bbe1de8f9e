"""The layers, under Keras's names: each is imported when it is first asked for. One file a layer, and one line here."""

from __future__ import annotations

import functools as _functools
from collections.abc import Mapping as _Mapping
from typing import TYPE_CHECKING
from typing import Any as _Any

from graphcore.identifiers import Registry as _Registry
from graphcore.layers.layer import Layer as Layer
from graphcore.on_demand import declared as _declared
from graphcore.on_demand import on_demand as _on_demand

if TYPE_CHECKING:
    from graphcore.layers.activation import Activation as Activation
    from graphcore.layers.activity_regularization import ActivityRegularization as ActivityRegularization
    from graphcore.layers.additive_attention import AdditiveAttention as AdditiveAttention
    from graphcore.layers.alpha_dropout import AlphaDropout as AlphaDropout
    from graphcore.layers.attention import Attention as Attention
    from graphcore.layers.average_pooling1d import AveragePooling1D as AveragePooling1D
    from graphcore.layers.average_pooling2d import AveragePooling2D as AveragePooling2D
    from graphcore.layers.average_pooling3d import AveragePooling3D as AveragePooling3D
    from graphcore.layers.batch_normalization import BatchNormalization as BatchNormalization
    from graphcore.layers.bidirectional import Bidirectional as Bidirectional
    from graphcore.layers.conv1d import Conv1D as Conv1D
    from graphcore.layers.conv1d_transpose import Conv1DTranspose as Conv1DTranspose
    from graphcore.layers.conv2d import Conv2D as Conv2D
    from graphcore.layers.conv2d_transpose import Conv2DTranspose as Conv2DTranspose
    from graphcore.layers.conv3d import Conv3D as Conv3D
    from graphcore.layers.conv3d_transpose import Conv3DTranspose as Conv3DTranspose
    from graphcore.layers.conv_lstm1d import ConvLSTM1D as ConvLSTM1D
    from graphcore.layers.conv_lstm2d import ConvLSTM2D as ConvLSTM2D
    from graphcore.layers.conv_lstm3d import ConvLSTM3D as ConvLSTM3D
    from graphcore.layers.cropping1d import Cropping1D as Cropping1D
    from graphcore.layers.cropping2d import Cropping2D as Cropping2D
    from graphcore.layers.cropping3d import Cropping3D as Cropping3D
    from graphcore.layers.dense import Dense as Dense
    from graphcore.layers.depthwise_conv1d import DepthwiseConv1D as DepthwiseConv1D
    from graphcore.layers.depthwise_conv2d import DepthwiseConv2D as DepthwiseConv2D
    from graphcore.layers.dropout import Dropout as Dropout
    from graphcore.layers.einsum_dense import EinsumDense as EinsumDense
    from graphcore.layers.elu import ELU as ELU
    from graphcore.layers.embedding import Embedding as Embedding
    from graphcore.layers.flatten import Flatten as Flatten
    from graphcore.layers.gaussian_dropout import GaussianDropout as GaussianDropout
    from graphcore.layers.gaussian_noise import GaussianNoise as GaussianNoise
    from graphcore.layers.global_average_pooling1d import GlobalAveragePooling1D as GlobalAveragePooling1D
    from graphcore.layers.global_average_pooling2d import GlobalAveragePooling2D as GlobalAveragePooling2D
    from graphcore.layers.global_average_pooling3d import GlobalAveragePooling3D as GlobalAveragePooling3D
    from graphcore.layers.global_max_pooling1d import GlobalMaxPooling1D as GlobalMaxPooling1D
    from graphcore.layers.global_max_pooling2d import GlobalMaxPooling2D as GlobalMaxPooling2D
    from graphcore.layers.global_max_pooling3d import GlobalMaxPooling3D as GlobalMaxPooling3D
    from graphcore.layers.group_normalization import GroupNormalization as GroupNormalization
    from graphcore.layers.group_query_attention import GroupQueryAttention as GroupQueryAttention
    from graphcore.layers.gru import GRU as GRU
    from graphcore.layers.gru_cell import GRUCell as GRUCell
    from graphcore.layers.identity import Identity as Identity
    from graphcore.layers.input_layer import Input as Input
    from graphcore.layers.input_layer import InputLayer as InputLayer
    from graphcore.layers.input_spec import InputSpec as InputSpec
    from graphcore.layers.integer_lookup import IntegerLookup as IntegerLookup
    from graphcore.layers.lambda_layer import Lambda as Lambda
    from graphcore.layers.layer_normalization import LayerNormalization as LayerNormalization
    from graphcore.layers.leaky_relu import LeakyReLU as LeakyReLU
    from graphcore.layers.lstm import LSTM as LSTM
    from graphcore.layers.lstm_cell import LSTMCell as LSTMCell
    from graphcore.layers.masking import Masking as Masking
    from graphcore.layers.max_pooling1d import MaxPooling1D as MaxPooling1D
    from graphcore.layers.max_pooling2d import MaxPooling2D as MaxPooling2D
    from graphcore.layers.max_pooling3d import MaxPooling3D as MaxPooling3D
    from graphcore.layers.merge_add import Add as Add
    from graphcore.layers.merge_add import add as add
    from graphcore.layers.merge_average import Average as Average
    from graphcore.layers.merge_average import average as average
    from graphcore.layers.merge_concatenate import Concatenate as Concatenate
    from graphcore.layers.merge_concatenate import concatenate as concatenate
    from graphcore.layers.merge_dot import Dot as Dot
    from graphcore.layers.merge_dot import dot as dot
    from graphcore.layers.merge_maximum import Maximum as Maximum
    from graphcore.layers.merge_maximum import maximum as maximum
    from graphcore.layers.merge_minimum import Minimum as Minimum
    from graphcore.layers.merge_minimum import minimum as minimum
    from graphcore.layers.merge_multiply import Multiply as Multiply
    from graphcore.layers.merge_multiply import multiply as multiply
    from graphcore.layers.merge_subtract import Subtract as Subtract
    from graphcore.layers.merge_subtract import subtract as subtract
    from graphcore.layers.multi_head_attention import MultiHeadAttention as MultiHeadAttention
    from graphcore.layers.normalization import Normalization as Normalization
    from graphcore.layers.permute import Permute as Permute
    from graphcore.layers.prelu import PReLU as PReLU
    from graphcore.layers.relu import ReLU as ReLU
    from graphcore.layers.repeat_vector import RepeatVector as RepeatVector
    from graphcore.layers.rescaling import Rescaling as Rescaling
    from graphcore.layers.reshape import Reshape as Reshape
    from graphcore.layers.rms_normalization import RMSNormalization as RMSNormalization
    from graphcore.layers.rnn import RNN as RNN
    from graphcore.layers.separable_conv1d import SeparableConv1D as SeparableConv1D
    from graphcore.layers.separable_conv2d import SeparableConv2D as SeparableConv2D
    from graphcore.layers.simple_rnn import SimpleRNN as SimpleRNN
    from graphcore.layers.simple_rnn_cell import SimpleRNNCell as SimpleRNNCell
    from graphcore.layers.softmax import Softmax as Softmax
    from graphcore.layers.spatial_dropout1d import SpatialDropout1D as SpatialDropout1D
    from graphcore.layers.spatial_dropout2d import SpatialDropout2D as SpatialDropout2D
    from graphcore.layers.spatial_dropout3d import SpatialDropout3D as SpatialDropout3D
    from graphcore.layers.stacked_rnn_cells import StackedRNNCells as StackedRNNCells
    from graphcore.layers.string_lookup import StringLookup as StringLookup
    from graphcore.layers.text_vectorization import TextVectorization as TextVectorization
    from graphcore.layers.time_distributed import TimeDistributed as TimeDistributed
    from graphcore.layers.unit_normalization import UnitNormalization as UnitNormalization
    from graphcore.layers.up_sampling1d import UpSampling1D as UpSampling1D
    from graphcore.layers.up_sampling2d import UpSampling2D as UpSampling2D
    from graphcore.layers.up_sampling3d import UpSampling3D as UpSampling3D
    from graphcore.layers.wrapper import Wrapper as Wrapper
    from graphcore.layers.zero_padding1d import ZeroPadding1D as ZeroPadding1D
    from graphcore.layers.zero_padding2d import ZeroPadding2D as ZeroPadding2D
    from graphcore.layers.zero_padding3d import ZeroPadding3D as ZeroPadding3D

    # Keras's other names.
    AvgPool1D = AveragePooling1D
    AvgPool2D = AveragePooling2D
    AvgPool3D = AveragePooling3D
    Convolution1D = Conv1D
    Convolution1DTranspose = Conv1DTranspose
    Convolution2D = Conv2D
    Convolution2DTranspose = Conv2DTranspose
    Convolution3D = Conv3D
    Convolution3DTranspose = Conv3DTranspose
    GlobalAvgPool1D = GlobalAveragePooling1D
    GlobalAvgPool2D = GlobalAveragePooling2D
    GlobalAvgPool3D = GlobalAveragePooling3D
    GlobalMaxPool1D = GlobalMaxPooling1D
    GlobalMaxPool2D = GlobalMaxPooling2D
    GlobalMaxPool3D = GlobalMaxPooling3D
    MaxPool1D = MaxPooling1D
    MaxPool2D = MaxPooling2D
    MaxPool3D = MaxPooling3D
    SeparableConvolution1D = SeparableConv1D
    SeparableConvolution2D = SeparableConv2D

_MEMBERS = _declared(__name__)
__getattr__ = _on_demand(__name__, _MEMBERS)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def builtin_layer(name: str) -> type[Layer] | None:
    """The layer class of this name, which configurations may refer to; None if there is none."""
    if name not in _MEMBERS.homes and name not in _MEMBERS.aliases and name != "Layer":
        return None
    found = __getattr__(name) if name != "Layer" else Layer
    return found if isinstance(found, type) and issubclass(found, Layer) else None


@_functools.cache
def _registry() -> _Registry[Layer]:
    found = (builtin_layer(name) for name in ("Layer", *_MEMBERS.homes))
    classes = tuple(layer for layer in found if layer is not None)
    return _Registry("layer", "keras.layers", classes=classes, base=Layer, snake_case=False)


def serialize(layer: Layer) -> _Any:
    """The configuration of a layer."""
    return _registry().serialize(layer)


def deserialize(config: _Any, custom_objects: _Mapping[str, _Any] | None = None) -> _Any:
    """The layer that a configuration describes; it has no weights yet."""
    return _registry().deserialize(config, custom_objects)


__all__ = ["Layer", "deserialize", "serialize", *_MEMBERS.names]
