"""Calls of functions of `graphcore.ops` as Keras's files have them, and read back.

Keras 3.15 has a class for each function. What its constructor takes, the static arguments, stands in the
configuration; the rest stands among the arguments of the call, in the order of the function's parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphcore import tree
from graphcore.dtype_policies import standardize_dtype
from graphcore.operation import Node
from graphcore.ops.dispatch import FunctionCall
from graphcore.tensor import OPERATORS, KerasTensor
from graphcore.variable import Variable

# (module of `keras.src.ops`, parameters of the constructor) -> functions.
_CLASSES: dict[tuple[str, str], str] = {
    ("core", "dtype"): "cast",
    ("core", ""): "stop_gradient",
    ("core", "shape"): "slice",
    ("core", "num axis"): "unstack",
    ("numpy", ""): (
        "add subtract multiply divide true_divide divide_no_nan floor_divide mod power maximum minimum negative "
        "absolute sign square sqrt reciprocal exp exp2 expm1 log log1p log2 log10 logaddexp sin cos tan tanh sinh "
        "cosh floor ceil trunc where get_item equal not_equal less less_equal greater greater_equal logical_and "
        "logical_or logical_xor logical_not isnan isinf isfinite matmul dot outer inner vdot ravel hstack vstack"
    ),
    ("numpy", "subscripts"): "_einsum",
    ("numpy", "indexing"): "_meshgrid",
    ("numpy", "decimals"): "round",
    ("numpy", "x_min x_max"): "clip",
    ("numpy", "nan posinf neginf"): "nan_to_num",
    ("numpy", "axis"): (
        "take take_along_axis sort argsort count_nonzero average expand_dims squeeze flip concatenate stack append"
    ),
    ("numpy", "shape dtype"): "full",
    ("numpy", "dtype"): "zeros_like ones_like full_like arange",
    ("numpy", "num endpoint retstep dtype axis"): "linspace",
    ("numpy", "k"): "tril triu",
    ("numpy", "equal_nan"): "isclose",
    ("numpy", "axes"): "tensordot transpose",
    ("numpy", "axis keepdims"): "sum mean var std amax amin argmax argmin all any",
    ("numpy", "axis keepdims dtype"): "prod",
    ("numpy", "axis keepdims initial"): "max min",
    ("numpy", "axis dtype"): "cumsum cumprod",
    ("numpy", "newshape"): "reshape",
    ("numpy", "source destination"): "moveaxis",
    ("numpy", "axis1 axis2"): "swapaxes",
    ("numpy", "shift axis"): "roll",
    ("numpy", "shape"): "broadcast_to",
    ("numpy", "repeats axis"): "repeat",
    ("numpy", "repeats"): "tile",
    ("numpy", "indices_or_sections axis"): "split",
    ("numpy", "pad_width mode"): "pad",
    ("numpy", "offset axis1 axis2"): "diagonal",
    ("math", ""): "rsqrt erf",
    ("math", "k sorted"): "top_k",
    ("math", "k"): "in_top_k",
    ("math", "axis keepdims"): "logsumexp",
    ("nn", "strides padding data_format dilation_rate"): "conv depthwise_conv separable_conv",
    ("nn", "strides padding output_padding data_format dilation_rate"): "conv_transpose",
    ("nn", ""): (
        "relu relu6 sigmoid log_sigmoid softplus softsign silu hard_sigmoid hard_silu selu hard_tanh tanh_shrink "
        "sparse_plus sparse_sigmoid"
    ),
    ("nn", "negative_slope"): "leaky_relu",
    ("nn", "alpha"): "elu celu",
    ("nn", "approximate"): "gelu",
    ("nn", "axis"): "glu softmax log_softmax",
    ("nn", "threshold"): "hard_shrink soft_shrink",
    ("nn", "b"): "squareplus",
    ("nn", "threshold default_value"): "threshold",
    ("nn", "is_causal flash_attention attn_logits_soft_cap"): "dot_product_attention",
    ("nn", "from_logits axis"): "categorical_crossentropy sparse_categorical_crossentropy",
    ("nn", "from_logits"): "binary_crossentropy",
    ("nn", "mask_index"): "ctc_loss",
    ("nn", "num_classes axis dtype sparse"): "one_hot multi_hot",
    ("nn", "axes keepdims synchronized"): "moments",
    ("nn", "axis epsilon"): "batch_normalization layer_normalization rms_normalization",
    ("nn", "axis order epsilon"): "normalize",
    ("nn", "pool_size strides padding data_format"): "max_pool average_pool",
    (
        "image",
        "size interpolation antialias crop_to_aspect_ratio pad_to_aspect_ratio fill_mode fill_value data_format",
    ): "resize",
    ("image", "size strides dilation_rate padding data_format"): "extract_patches",
    ("image", "data_format"): "rgb_to_grayscale",
    ("linalg", "ord axis keepdims"): "norm",
}
# Classes that are not called as the function is, letter case aside.
_CLASS_NAMES = {
    "batch_normalization": "BatchNorm",
    "ctc_loss": "CTCLoss",
    "layer_normalization": "LayerNorm",
    "rms_normalization": "RMSNorm",
}
# Further names of functions here -> the name that Keras's class follows.
_ALIASES = {"abs": "absolute", "hard_swish": "hard_silu", "swish": "silu"}
# Functions whose one list of tensors Keras passes as so many arguments.
_VARIADIC = {"_einsum": "operands", "_meshgrid": "xs"}


class _Class(NamedTuple):
    module: str
    name: str
    static: tuple[str, ...]


class StoredCall(NamedTuple):
    """A call in parts: where Keras finds the class, the configuration, and what the call itself takes."""

    module: str
    class_name: str
    config: dict[str, Any]
    args: tuple[Any, ...]


@functools.cache
def _classes() -> dict[str, _Class]:
    """Function -> class."""
    return {
        function: _Class(f"keras.src.ops.{module}", _class_name(function), tuple(static.split()))
        for (module, static), functions in _CLASSES.items()
        for function in functions.split()
    }


def _class_name(function: str) -> str:
    return _CLASS_NAMES.get(function) or "".join(word.capitalize() for word in function.split("_"))


def stored_call(operation: FunctionCall, node: Node) -> StoredCall | None:
    """The parts of a call as Keras stores it; None if Keras has no such class, or the call gives a tensor where Keras
    takes a static argument.
    """
    signature = operation.function.__wrapped__  # type: ignore[attr-defined]
    function = _ALIASES.get(signature.function, signature.function)
    known = _classes().get(function)
    if known is None:
        return None
    parameters = signature.__signature__.parameters
    given = {name: parameter.default for name, parameter in parameters.items()}
    given |= signature.bind(node.args, node.kwargs)
    config = {name: given[name] for name in known.static}
    if any(isinstance(leaf, (KerasTensor, Variable)) for leaf in tree.flatten(config)):
        return None
    if config.get("dtype") is not None:
        config["dtype"] = standardize_dtype(config["dtype"])
    args = [value for name, value in given.items() if name not in known.static]
    if function in _VARIADIC:
        (args,) = args
    return StoredCall(known.module, known.name, config, tuple(args))


@functools.cache
def _functions() -> dict[str, str]:
    """Class -> function."""
    return {known.name: function for function, known in _classes().items()}


def function_of(row: Mapping[str, Any]) -> str | None:
    """The function that a row of a configuration calls, as Keras or this package wrote it; None for a layer."""
    if not str(row.get("module", "")).startswith(("keras.ops", "keras.src.ops")):
        return None
    name = (row.get("config") or {}).get("function") or _functions().get(str(row["class_name"]))
    return name if name in OPERATORS else None


class StoredFunction(FunctionCall):
    """A function with some of its arguments, as a file names it.

    Args:
        function: its name.
        arguments: those that stand in the configuration.
        name: of the operation.

    Raises:
        ValueError: an option that the function does not have and that is in use.
    """

    def __init__(self, function: str, arguments: dict[str, Any], name: str) -> None:
        super().__init__(OPERATORS[function], name)
        self.names = OPERATORS[function].__wrapped__.names  # type: ignore[attr-defined]
        unknown = {key: value for key, value in arguments.items() if key not in self.names and value}
        if unknown:
            raise ValueError(f"Operation '{name}' has options that ops.{function} does not have: {unknown}")
        self.arguments = {key: value for key, value in arguments.items() if key in self.names}
        self._several = _VARIADIC.get(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with all its arguments and keep this name."""
        if self._several is not None and self.arguments:
            args = (list(args),)
        rest = [name for name in self.names if name not in self.arguments]
        given = self.arguments | dict(zip(rest, args, strict=False)) | kwargs
        if isinstance(given.get("key"), list) and "key" in rest:
            given["key"] = tuple(given["key"])  # of get_item; JSON knows no tuples
        results = self.function(**given)
        for tensor in tree.flatten(results):
            if isinstance(tensor, KerasTensor) and tensor.node is not None:
                tensor.node.operation.name = self.name
        return results
