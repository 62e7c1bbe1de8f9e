"""Calling a layer: recorded on symbolic tensors, traced inside a program, run at once on arrays."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler import functions
from compiler.types import is_float
from graphcore import ops, tree
from graphcore.dtype_policies import standardize_dtype
from graphcore.evaluation import evaluate
from graphcore.layers.call_masks import call_masks, record_masks
from graphcore.layers.input_spec import check_inputs
from graphcore.layers.signature import (
    CallSignature,
    build_arguments,
    call_signature,
    is_tensor,
    shapes_of,
    tensor_arguments,
)
from graphcore.naming import name_scope
from graphcore.operation import Node, any_symbolic
from graphcore.tensor import KerasTensor
from graphcore.tracing import PACKAGE, Trace, as_array, as_value, current_trace, untraced, user_source
from graphcore.variable import Variable

if TYPE_CHECKING:
    from graphcore.layers.layer import Layer


def call_layer(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `layer(*args, **kwargs)` does."""
    trace = current_trace()
    if any_symbolic((args, kwargs)):
        return _record(layer, args, kwargs)
    if trace is not None:
        return call_traced(layer, trace, args, kwargs)
    return _run(layer, args, kwargs)


# -- at once -----------------------------------------------------------------------------------------------


def _run(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    def to_array(leaf: Any) -> Any:
        if isinstance(leaf, Variable):
            return leaf.array
        return _cast_array(layer, as_array(np.asarray(leaf))) if is_tensor(leaf) else leaf

    arguments = tree.map_structure(to_array, (args, kwargs))
    build_if_needed(layer, *arguments)
    for owner in layer.flatten_layers():
        owner.clear_losses()

    def keep(losses: list[tuple[Any, Any]]) -> None:
        for owner, value in losses:
            owner.keep_loss(value)

    def traced(given: Any) -> Any:
        trace = current_trace()
        assert trace is not None
        return call_traced(layer, trace, *given)

    return evaluate(traced, arguments, name=layer.name, on_losses=keep)


def _cast_array(layer: Layer, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    casts = layer.autocast and layer.casts_inputs
    if not casts or not is_float(array.dtype.name) or not is_float(layer.compute_dtype):
        return array
    return array.astype(layer.compute_dtype, copy=False)


# -- recorded ----------------------------------------------------------------------------------------------


def _record(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Infer the results on symbolic tensors and record the call."""
    outputs = abstract_call(layer, args, kwargs)
    tensors = [leaf for leaf in tree.flatten(outputs) if isinstance(leaf, KerasTensor)]
    if tensors:
        Node(layer, args, kwargs, tensors, user_source(), record_masks(layer, args, kwargs, tensors))
    return outputs


def abstract_call(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """New symbolic tensors with the types of the results; nothing is recorded.

    The call is traced into a graph that is thrown away: shapes come from the IR's own type rules, and updates
    of variables have no effect.
    """
    trace = Trace(layer.name)

    def placeholder(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        tensor = trace.input(f"input_{len(trace.builder.inputs)}", leaf.dims, leaf.dtype)
        if leaf.keras_mask is not None:
            mask = leaf.keras_mask
            tensor.keras_mask = trace.input(f"input_{len(trace.builder.inputs)}", mask.dims, mask.dtype)
        return tensor

    traced_args, traced_kwargs = tree.map_structure(placeholder, (args, kwargs))
    with trace:
        results = call_traced(layer, trace, traced_args, traced_kwargs)

    def specification(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        tensor = KerasTensor(leaf.dims, leaf.dtype, layer.name)
        if leaf.keras_mask is not None:
            tensor.keras_mask = KerasTensor(leaf.keras_mask.dims, leaf.keras_mask.dtype, "mask")
        return tensor

    return layer.symbolic_structure(tree.map_structure(specification, results))


# -- traced ------------------------------------------------------------------------------------------------


def call_traced(
    layer: Layer, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any], *, adds_activity_loss: bool = True
) -> Any:
    """Call a layer on tensors of a trace: build it, fill in `training` and masks, run `call`.

    Args:
        layer: what is called.
        trace: the current one.
        args, kwargs: of the call.
        adds_activity_loss: whether the loss of the layer's activity regularizer is added.
    """
    layer.check_initialised()
    args, kwargs = tree.map_structure(lambda leaf: _to_tensor(layer, trace, leaf), (args, kwargs))
    if not layer.accepts_any_arguments:
        _check_positional(layer, args)
    first = args[0] if args else next(iter(kwargs.values()), None)
    check_inputs(layer.input_spec, first, layer.name)
    build_if_needed(layer, args, kwargs)
    signature = call_signature(type(layer))
    bound = signature.bind(args, kwargs, layer.name)
    training = _training(signature, bound, trace)
    previous_mask, extra = call_masks(signature.names, bound, first)
    if signature.takes_training and training is not None:
        extra["training"] = training
    if signature.is_plain:
        args, kwargs = (), bound | extra
    else:
        kwargs = kwargs | extra
    try:
        with calling(layer, training):
            outputs = layer.call(*args, **kwargs)
            outputs = tree.map_structure(lambda leaf: _result(trace, leaf), outputs)
            if adds_activity_loss:
                _add_activity_loss(layer, trace, outputs)
            _set_masks(layer, first, outputs, previous_mask)
    except (TypeError, ValueError, NotImplementedError) as error:
        _note(error, layer, first)
        raise
    return outputs


@contextlib.contextmanager
def calling(layer: Layer, training: Any) -> Iterator[None]:
    """Inside, the current trace records a call of this layer: names, element types, what layers in it are told."""
    trace = current_trace()
    assert trace is not None
    before = (trace.training, trace.autocast_dtype)
    trace.training = training
    trace.autocast_dtype = _autocast_scope(layer, before[1])
    try:
        with name_scope(layer.name), trace.layer(_path_name(layer, trace), _line(layer, trace)):
            yield
    finally:
        trace.training, trace.autocast_dtype = before


def _to_tensor(layer: Layer, trace: Trace, leaf: Any) -> Any:
    """Arrays become constants; floats get the layer's compute type."""
    if isinstance(leaf, Variable):
        leaf = trace.read(leaf)
    elif is_tensor(leaf) and not isinstance(leaf, KerasTensor):
        leaf = trace.wrap(as_value(trace, _cast_array(layer, np.asarray(leaf))))
    if not isinstance(leaf, KerasTensor) or not layer.autocast or not layer.casts_inputs:
        return leaf
    compute = layer.compute_dtype
    if not is_float(leaf.dtype) or leaf.dtype == compute or not is_float(compute):
        return leaf
    tensor = trace.wrap(functions.cast(trace.builder, trace.unwrap(leaf), compute))
    tensor.keras_mask = leaf.keras_mask
    return tensor


def _check_positional(layer: Layer, args: tuple[Any, ...]) -> None:
    for leaf in tree.flatten(args):
        if leaf is not None and not is_tensor(leaf):
            raise ValueError(
                f"Only input tensors may be passed to layer '{layer.name}' as positional arguments. The following "
                f"argument value should be passed as a keyword argument: {leaf!r} (of type {type(leaf).__name__})"
            )


def build_if_needed(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Create the layer's weights from the shapes of these arguments, once."""
    layer.check_initialised()
    if layer.built:
        return
    bound = call_signature(type(layer)).bind(args, kwargs, layer.name)
    shapes = {name: shapes_of(value) for name, value in tensor_arguments(bound).items()}
    if layer.builds_by_calling:
        layer.remember_shapes(shapes)
        return
    with untraced():
        try:
            layer.build(**build_arguments(layer.build, shapes))
        except (TypeError, ValueError) as error:
            error.add_note(f"while layer '{layer.name}' was built for shapes {shapes}")
            raise
    if not layer.built:
        layer.built = True


def _training(signature: CallSignature, bound: dict[str, Any], trace: Trace) -> Any:
    """What `call` is told: its own argument, else what the calling layer was told, else the default."""
    if bound.get("training") is not None:
        return bound["training"]
    return trace.training if trace.training is not None else signature.defaults.get("training")


def _set_masks(layer: Layer, first: Any, outputs: Any, previous_mask: Any) -> None:
    """Give the results the masks that `compute_mask` says; warn where a layer drops one."""
    has_mask = any(mask is not None for mask in tree.flatten(previous_mask))
    if not layer.supports_masking:
        if has_mask and not layer.passes_masks:
            warnings.warn(
                f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with a mask "
                f"attached to it. "
                "However, this layer does not support masking and will therefore destroy the mask information. "
                "Downstream layers will not see the mask.",
                stacklevel=2,
            )
        return
    flat = [leaf for leaf in tree.flatten(outputs) if isinstance(leaf, KerasTensor)]
    if not flat or all(tensor.keras_mask is not None for tensor in flat):
        return
    masks = tree.flatten(layer.compute_mask(first, previous_mask))
    for tensor, mask in zip(flat, masks, strict=False):
        if mask is not None and tensor.keras_mask is None:
            tensor.keras_mask = mask


def _result(trace: Trace, leaf: Any) -> Any:
    """What `call` returns as a tensor of the trace, never one of its arguments (masks differ)."""
    if isinstance(leaf, Variable):
        return trace.read(leaf)
    if isinstance(leaf, KerasTensor):
        tensor = trace.wrap(trace.unwrap(leaf))
        tensor.keras_mask = leaf.keras_mask
        return tensor
    if isinstance(leaf, (np.ndarray, np.generic)):
        return trace.wrap(as_value(trace, leaf))
    return leaf


def _add_activity_loss(layer: Layer, trace: Trace, outputs: Any) -> None:
    """Add the activity regularizer's loss, divided by the batch size as Keras does."""
    if layer.activity_regularizer is None:
        return
    for output in tree.flatten(outputs):
        if isinstance(output, KerasTensor):
            loss = layer.activity_regularizer(output)
            if output.ndim > 0:
                loss = ops.divide(loss, ops.cast(ops.shape(output)[0], standardize_dtype(loss.dtype)))
            trace.add_loss(layer, loss)


def _autocast_scope(layer: Layer, current: str | None) -> str | None:
    """The float type in which variables are seen inside the call; None leaves them as they are."""
    if not layer.autocast or not is_float(layer.compute_dtype):
        return None
    if current is not None or layer.compute_dtype != layer.variable_dtype:
        return layer.compute_dtype
    return None


def _path_name(layer: Layer, trace: Trace) -> str | None:
    """The name that nodes carry; an outermost model adds none."""
    return None if layer.is_model and trace.depth == 0 else layer.name


def _line(layer: Layer, trace: Trace) -> str | None:
    """The line of the caller for a built-in layer; None where nodes follow the code of the user's own layer."""
    code = getattr(type(layer).call, "__code__", None)
    if code is not None and not code.co_filename.startswith(PACKAGE):
        return None
    return user_source() if trace.follows_source else trace.builder.source


def _note(error: Exception, layer: Layer, first: Any) -> None:
    """Say once in which layer an error arose."""
    if getattr(error, "__notes__", None):
        return
    with contextlib.suppress(TypeError, ValueError):
        shapes = tree.map_structure(lambda leaf: getattr(leaf, "shape", leaf), first)
        error.add_note(f"in layer '{layer.name}' ({type(layer).__name__}), called on an input of shape {shapes}")
