"""The cases of layers.json: rows of (name, class, constructor arguments, input shapes, call arguments)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, dict[str, Any], list[tuple[int, ...]], dict[str, Any]]

# Hard and soft bends (ReLU6, hard_sigmoid...) are sampled on both sides; no input lies on a bend.
ACTIVATIONS = (
    "relu", "leaky_relu", "relu6", "softmax", "celu", "elu", "selu", "softplus", "softsign", "squareplus",
    "soft_shrink", "sparse_plus", "silu", "swish", "gelu", "glu", "tanh", "tanh_shrink",
    "sigmoid", "exponential", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "hard_shrink", "linear",
    "mish", "log_softmax", "log_sigmoid", "sparse_sigmoid", "sparsemax",
)  # fmt: skip


def rows() -> Iterator[Row]:
    """Every case but the activations and those of series."""
    yield from dense_rows()
    yield from convolution_rows()
    yield from transposed_rows()
    yield from depthwise_rows()
    yield from pooling_rows()
    yield from normalisation_rows()
    yield from activation_layer_rows()
    yield from merging_rows()
    yield from reshaping_rows()
    yield from sequence_rows()


def dense_rows() -> Iterator[Row]:
    yield "dense", "Dense", {"units": 3}, [(4, 5)], {}
    yield "dense_no_bias", "Dense", {"units": 3, "use_bias": False}, [(4, 5)], {}
    yield "dense_relu", "Dense", {"units": 6, "activation": "relu"}, [(2, 7)], {}
    yield "dense_softmax", "Dense", {"units": 6, "activation": "softmax"}, [(3, 7)], {}
    yield "dense_rank3", "Dense", {"units": 4}, [(2, 3, 5)], {}
    yield "dense_rank4", "Dense", {"units": 2}, [(2, 3, 2, 5)], {}


def convolution_rows() -> Iterator[Row]:
    image = (2, 8, 7, 3)
    for padding in ("valid", "same"):
        for size in (1, 2, 3, 4):
            for stride in (1, 2, 3):
                kwargs = {"filters": 4, "kernel_size": size, "strides": stride, "padding": padding}
                yield f"conv2d_{padding}_k{size}_s{stride}", "Conv2D", kwargs, [image], {}
        kwargs = {"filters": 3, "kernel_size": 3, "dilation_rate": 2, "padding": padding}
        yield f"conv2d_{padding}_dilated", "Conv2D", kwargs, [image], {}
        kwargs = {"filters": 3, "kernel_size": [2, 3], "dilation_rate": [3, 1], "padding": padding}
        yield f"conv2d_{padding}_dilated_unequal", "Conv2D", kwargs, [image], {}
        kwargs = {"filters": 6, "kernel_size": 3, "groups": 2, "padding": padding}
        yield f"conv2d_{padding}_groups", "Conv2D", kwargs, [(2, 6, 5, 4)], {}
        kwargs = {"filters": 2, "kernel_size": [3, 2], "strides": [2, 3], "padding": padding}
        yield f"conv2d_{padding}_unequal", "Conv2D", kwargs, [image], {}
    yield "conv2d_no_bias_relu", "Conv2D", {"filters": 4, "kernel_size": 3, "use_bias": False,
                                            "activation": "relu"}, [image], {}  # fmt: skip
    kwargs = {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "groups": 4}
    yield "conv2d_groups_equal_channels", "Conv2D", kwargs, [(2, 7, 6, 4)], {}
    kwargs = {
        "filters": 2,
        "kernel_size": 3,
        "strides": 2,
        "padding": "same",
        "data_format": "channels_first",
    }
    yield "conv2d_channels_first", "Conv2D", kwargs, [(2, 3, 8, 7)], {}
    for padding in ("valid", "same", "causal"):
        kwargs = {"filters": 4, "kernel_size": 3, "padding": padding}
        yield f"conv1d_{padding}", "Conv1D", kwargs, [(2, 9, 3)], {}
        yield f"conv1d_{padding}_strided", "Conv1D", {**kwargs, "strides": 2}, [(2, 9, 3)], {}
        yield f"conv1d_{padding}_dilated", "Conv1D", {**kwargs, "dilation_rate": 2}, [(2, 9, 3)], {}


def transposed_rows() -> Iterator[Row]:
    image = (2, 4, 3, 3)
    for padding in ("valid", "same"):
        for size in (2, 3, 4, 5):
            for stride in (1, 2, 3):
                kwargs = {"filters": 2, "kernel_size": size, "strides": stride, "padding": padding}
                yield f"conv2d_transpose_{padding}_k{size}_s{stride}", "Conv2DTranspose", kwargs, [image], {}
        for size, stride, extra in ((3, 2, 1), (2, 2, 1), (3, 3, 2), (4, 2, 0), (3, 2, 0)):
            kwargs = {"filters": 2, "kernel_size": size, "strides": stride, "padding": padding}
            kwargs["output_padding"] = extra
            name = f"conv2d_transpose_{padding}_k{size}_s{stride}_extra{extra}"
            yield name, "Conv2DTranspose", kwargs, [image], {}
        kwargs = {
            "filters": 2,
            "kernel_size": [2, 3],
            "strides": [3, 1],
            "padding": padding,
            "use_bias": False,
        }
        yield f"conv2d_transpose_{padding}_unequal", "Conv2DTranspose", kwargs, [image], {}


def depthwise_rows() -> Iterator[Row]:
    image = (2, 7, 6, 3)
    for padding in ("valid", "same"):
        for multiplier in (1, 2):
            for stride in (1, 2):
                kwargs = {
                    "kernel_size": 3,
                    "strides": stride,
                    "depth_multiplier": multiplier,
                    "padding": padding,
                }
                name = f"depthwise_conv2d_{padding}_m{multiplier}_s{stride}"
                yield name, "DepthwiseConv2D", kwargs, [image], {}
        kwargs = {"kernel_size": 2, "dilation_rate": 2, "padding": padding, "use_bias": False}
        yield f"depthwise_conv2d_{padding}_dilated", "DepthwiseConv2D", kwargs, [image], {}
        kwargs = {"filters": 4, "kernel_size": 3, "depth_multiplier": 2, "padding": padding}
        yield f"separable_conv2d_{padding}", "SeparableConv2D", kwargs, [image], {}


def pooling_rows() -> Iterator[Row]:
    image = (2, 7, 6, 3)
    yield "max_pooling2d_default", "MaxPooling2D", {}, [(2, 5, 5, 2)], {}
    for kind in ("Max", "Average"):
        for padding in ("valid", "same"):
            for size, stride in ((2, None), (3, None), (3, 1), (3, 2), (2, 1), ([2, 3], [3, 2])):
                kwargs = {"pool_size": size, "strides": stride, "padding": padding}
                label = "unequal" if isinstance(size, list) else f"k{size}_s{stride or size}"
                if stride is None:
                    label += "_default"
                yield f"{kind.lower()}_pooling2d_{padding}_{label}", f"{kind}Pooling2D", kwargs, [image], {}
        kwargs = {"pool_size": 2, "padding": "same", "data_format": "channels_first"}
        yield f"{kind.lower()}_pooling2d_channels_first", f"{kind}Pooling2D", kwargs, [(2, 3, 5, 4)], {}
        for padding in ("valid", "same"):
            kwargs = {"pool_size": 3, "strides": 2, "padding": padding}
            yield f"{kind.lower()}_pooling1d_{padding}", f"{kind}Pooling1D", kwargs, [(2, 8, 3)], {}
        for keep in (False, True):
            suffix = "_keepdims" if keep else ""
            yield (f"global_{kind.lower()}_pooling2d{suffix}", f"Global{kind}Pooling2D", {"keepdims": keep},
                   [image], {})  # fmt: skip
            yield (f"global_{kind.lower()}_pooling1d{suffix}", f"Global{kind}Pooling1D", {"keepdims": keep},
                   [(2, 5, 3)], {})  # fmt: skip


def normalisation_rows() -> Iterator[Row]:
    for training in (True, False):
        mode, call = ("training" if training else "inference"), {"training": training}
        yield f"batch_normalization_rank2_{mode}", "BatchNormalization", {}, [(6, 4)], call
        yield f"batch_normalization_rank4_{mode}", "BatchNormalization", {}, [(3, 4, 5, 3)], call
        kwargs = {"momentum": 0.7, "epsilon": 0.01}
        yield f"batch_normalization_momentum_{mode}", "BatchNormalization", kwargs, [(5, 4, 3)], call
        yield f"batch_normalization_axis1_{mode}", "BatchNormalization", {"axis": 1}, [(3, 2, 4, 4)], call
        kwargs = {"center": False, "scale": False}
        yield f"batch_normalization_plain_{mode}", "BatchNormalization", kwargs, [(6, 4)], call
    yield (
        "batch_normalization_frozen",
        "BatchNormalization",
        {"trainable": False},
        [(6, 4)],
        {"training": True},
    )
    yield "layer_normalization", "LayerNormalization", {}, [(3, 6)], {}
    yield "layer_normalization_rank3", "LayerNormalization", {}, [(2, 3, 5)], {}
    yield "layer_normalization_axis1", "LayerNormalization", {"axis": 1}, [(2, 4, 3)], {}
    yield "layer_normalization_axes", "LayerNormalization", {"axis": [1, 2]}, [(2, 4, 3)], {}
    yield "layer_normalization_axes_images", "LayerNormalization", {"axis": [1, 2, 3]}, [(2, 3, 4, 2)], {}
    yield "layer_normalization_epsilon", "LayerNormalization", {"epsilon": 0.1}, [(3, 6)], {}
    yield "layer_normalization_plain", "LayerNormalization", {"center": False, "scale": False}, [(3, 6)], {}
    yield "group_normalization", "GroupNormalization", {"groups": 2}, [(2, 3, 4, 6)], {}
    yield "group_normalization_instance", "GroupNormalization", {"groups": -1}, [(2, 3, 4, 4)], {}
    yield "rms_normalization", "RMSNormalization", {}, [(3, 6)], {}
    yield "unit_normalization", "UnitNormalization", {}, [(3, 6)], {}


def activation_layer_rows() -> Iterator[Row]:
    yield "relu_layer", "ReLU", {}, [(3, 20)], {}
    yield "relu_layer_max", "ReLU", {"max_value": 0.9}, [(3, 20)], {}
    yield "relu_layer_slope", "ReLU", {"negative_slope": 0.2}, [(3, 20)], {}
    yield "relu_layer_threshold", "ReLU", {"threshold": 0.3}, [(3, 20)], {}
    kwargs = {"max_value": 1.1, "negative_slope": 0.25, "threshold": 0.4}
    yield "relu_layer_all", "ReLU", kwargs, [(3, 20)], {}
    yield "leaky_relu_layer", "LeakyReLU", {}, [(3, 20)], {}
    yield "leaky_relu_layer_slope", "LeakyReLU", {"negative_slope": 0.05}, [(3, 20)], {}
    yield "elu_layer", "ELU", {"alpha": 0.7}, [(3, 20)], {}
    yield "prelu_layer", "PReLU", {}, [(3, 6)], {}
    yield "prelu_layer_shared", "PReLU", {"shared_axes": [1, 2]}, [(2, 3, 4, 2)], {}
    yield "softmax_layer", "Softmax", {}, [(2, 3, 4)], {}
    yield "softmax_layer_axis1", "Softmax", {"axis": 1}, [(2, 3, 4)], {}
    yield "softmax_layer_axes", "Softmax", {"axis": [1, 2]}, [(2, 3, 4)], {}
    yield "dropout_inference", "Dropout", {"rate": 0.4}, [(3, 6)], {"training": False}
    yield "dropout_zero_rate", "Dropout", {"rate": 0.0}, [(3, 6)], {"training": True}


def merging_rows() -> Iterator[Row]:
    for kind in ("Add", "Multiply", "Average", "Maximum", "Minimum"):
        yield f"{kind.lower()}_two", kind, {}, [(2, 3, 4)] * 2, {}
        yield f"{kind.lower()}_three", kind, {}, [(2, 5)] * 3, {}
        yield f"{kind.lower()}_broadcast", kind, {}, [(2, 3, 4), (2, 1, 4)], {}
    yield "subtract_two", "Subtract", {}, [(2, 3, 4)] * 2, {}
    yield "subtract_broadcast", "Subtract", {}, [(2, 3, 4), (2, 3, 1)], {}
    yield "concatenate_last", "Concatenate", {}, [(2, 3, 4), (2, 3, 1), (2, 3, 2)], {}
    yield "concatenate_axis1", "Concatenate", {"axis": 1}, [(2, 3, 4), (2, 1, 4)], {}
    yield "dot_vectors", "Dot", {"axes": 1}, [(3, 5), (3, 5)], {}
    yield "dot_matrices", "Dot", {"axes": [2, 1]}, [(2, 3, 5), (2, 5, 4)], {}
    yield "dot_normalised", "Dot", {"axes": -1, "normalize": True}, [(3, 5), (3, 5)], {}


def reshaping_rows() -> Iterator[Row]:
    yield "flatten", "Flatten", {}, [(2, 3, 4, 2)], {}
    yield "flatten_channels_first", "Flatten", {"data_format": "channels_first"}, [(2, 3, 4, 2)], {}
    yield "flatten_rank1", "Flatten", {}, [(5,)], {}
    yield "reshape", "Reshape", {"target_shape": [4, 3]}, [(2, 12)], {}
    yield "reshape_free", "Reshape", {"target_shape": [-1, 2, 2]}, [(2, 3, 4)], {}
    yield "permute", "Permute", {"dims": [2, 1]}, [(2, 3, 4)], {}
    yield "permute_images", "Permute", {"dims": [3, 1, 2]}, [(2, 3, 4, 5)], {}
    yield "repeat_vector", "RepeatVector", {"n": 3}, [(2, 4)], {}
    yield "zero_padding2d", "ZeroPadding2D", {}, [(2, 3, 4, 2)], {}
    yield "zero_padding2d_symmetric", "ZeroPadding2D", {"padding": [2, 1]}, [(2, 3, 4, 2)], {}
    yield "zero_padding2d_each", "ZeroPadding2D", {"padding": [[1, 0], [2, 3]]}, [(2, 3, 4, 2)], {}
    yield "zero_padding1d", "ZeroPadding1D", {"padding": [1, 2]}, [(2, 3, 4)], {}
    yield "cropping2d", "Cropping2D", {"cropping": [[1, 0], [2, 1]]}, [(2, 5, 6, 2)], {}
    yield "cropping1d", "Cropping1D", {"cropping": [1, 2]}, [(2, 6, 3)], {}
    yield "up_sampling2d", "UpSampling2D", {}, [(2, 3, 4, 2)], {}
    yield "up_sampling2d_unequal", "UpSampling2D", {"size": [3, 2]}, [(2, 3, 4, 2)], {}
    yield "up_sampling2d_bilinear", "UpSampling2D", {"interpolation": "bilinear"}, [(2, 3, 4, 2)], {}
    kwargs = {"size": [3, 2], "interpolation": "bilinear"}
    yield "up_sampling2d_bilinear_unequal", "UpSampling2D", kwargs, [(2, 3, 4, 2)], {}
    yield "up_sampling1d", "UpSampling1D", {"size": 3}, [(2, 3, 2)], {}
    yield "rescaling", "Rescaling", {"scale": 0.125}, [(2, 3, 4)], {}
    yield "rescaling_offset", "Rescaling", {"scale": 2.0, "offset": -1.5}, [(2, 3, 4)], {}


def sequence_rows() -> Iterator[Row]:
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        name = kind.lower()
        yield name, kind, {"units": 4}, [(2, 5, 3)], {}
        yield f"{name}_sequences", kind, {"units": 4, "return_sequences": True}, [(2, 5, 3)], {}
        yield f"{name}_backwards", kind, {"units": 3, "go_backwards": True}, [(2, 5, 3)], {}
    yield "gru_reset_before", "GRU", {"units": 4, "reset_after": False}, [(2, 5, 3)], {}


def series_rows() -> Iterator[Row]:
    """Layers for series of one axis, beside those above; their arrays come last."""
    series = [(2, 9, 4)]
    for padding in ("valid", "same"):
        for stride in (1, 2, 3):
            kwargs = {"filters": 3, "kernel_size": 3, "strides": stride, "padding": padding}
            yield f"conv1d_transpose_{padding}_s{stride}", "Conv1DTranspose", kwargs, [(2, 5, 4)], {}
        kwargs = {"filters": 3, "kernel_size": 3, "dilation_rate": 2, "padding": padding}
        yield f"conv1d_transpose_{padding}_dilated", "Conv1DTranspose", kwargs, [(2, 5, 4)], {}
        kwargs = {"kernel_size": 3, "depth_multiplier": 2, "padding": padding}
        yield f"depthwise_conv1d_{padding}", "DepthwiseConv1D", kwargs, series, {}
        kwargs = {"filters": 5, "kernel_size": 3, "strides": 2, "padding": padding}
        yield f"separable_conv1d_{padding}", "SeparableConv1D", kwargs, series, {}
        for kind in ("Max", "Average"):
            kwargs = {"pool_size": 2, "padding": padding}
            yield f"{kind.lower()}_pooling1d_{padding}_default", f"{kind}Pooling1D", kwargs, series, {}
    kwargs = {"filters": 6, "kernel_size": 2, "padding": "causal", "dilation_rate": 4, "activation": "relu"}
    yield "conv1d_causal_far", "Conv1D", kwargs, series, {}
    kwargs = {"filters": 6, "kernel_size": 3, "padding": "causal", "groups": 2, "use_bias": False}
    yield "conv1d_causal_groups", "Conv1D", kwargs, series, {}
    kwargs = {"filters": 2, "kernel_size": 3, "data_format": "channels_first"}
    yield "conv1d_channels_first", "Conv1D", kwargs, [(2, 4, 9)], {}
    yield "spatial_dropout1d_inference", "SpatialDropout1D", {"rate": 0.4}, series, {"training": False}
    yield "spatial_dropout1d_zero_rate", "SpatialDropout1D", {"rate": 0.0}, series, {"training": True}
    yield "group_normalization_series", "GroupNormalization", {"groups": 2, "epsilon": 0.01}, series, {}
    kwargs = {"groups": 2, "axis": 1, "center": False}
    yield "group_normalization_axis1", "GroupNormalization", kwargs, [(2, 6, 3)], {}
    yield "rms_normalization_series", "RMSNormalization", {"epsilon": 0.01}, series, {}
    yield "masking", "Masking", {"mask_value": 0.5}, series, {}
    yield "repeat_vector_once", "RepeatVector", {"n": 1}, [(3, 5)], {}
    yield "permute_series", "Permute", {"dims": [2, 1]}, series, {}
