"""Drawings of models as `keras.utils.plot_model` makes them, without Graphviz: layers as boxes, tensors as arrows."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphcore.layers.layer import Layer
from graphcore.models.model import Model
from graphcore.models.sequential import Sequential
from graphcore.operation import Node, Operation

if TYPE_CHECKING:
    from compiler.inspect.drawing import Drawing

__all__ = ["Block", "ModelDrawing", "Options", "blocks_of", "model_to_dot", "plot_model"]

RANKDIRS = ("TB", "BT", "LR", "RL")
FORMATS = ("png", "svg", "dot")


@dataclasses.dataclass(frozen=True)
class Options:
    """What a drawing shows; see `plot_model`."""

    show_shapes: bool = False
    show_dtype: bool = False
    show_layer_names: bool = False
    rankdir: str = "TB"
    expand_nested: bool = False
    show_layer_activations: bool = False
    show_trainable: bool = False

    def __post_init__(self) -> None:
        if self.rankdir not in RANKDIRS:
            raise ValueError(f"`rankdir` must be one of {', '.join(RANKDIRS)}. Received: rankdir={self.rankdir!r}")


@dataclasses.dataclass(frozen=True)
class Block:
    """What stands for one layer: a title, cells below it, and, if it is opened, the blocks of the layers in it.

    `edges` are pairs of numbers of `inner`.
    """

    title: str
    name: str
    cells: tuple[str, ...] = ()
    inner: tuple[Block, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
) -> ModelDrawing:
    """Draw a model and write the drawing to a file.

    Args:
        model: a model that is built.
        to_file: where to: a path that ends in `.png`, `.svg` or `.dot`.
        show_shapes: shapes of inputs and outputs.
        show_dtype: element types of the outputs.
        show_layer_names: names, beside the classes.
        rankdir: "TB", "BT", "LR" or "RL": where arrows go.
        expand_nested: draw models in the model as boxes around their layers.
        dpi: dots an inch, of PNG.
        show_layer_activations: names of the layers' activations.
        show_trainable: which of the layers that have weights are trainable.
        splines: how Graphviz is to draw arrows, for DOT; pictures have straight lines.

    Returns:
        The drawing, which a notebook shows.

    Raises:
        ValueError: if the model is not built, or an argument is not understood.
        ImportError: for PNG without the package `pillow`.
    """
    path = Path(os.fspath(to_file))
    kind = path.suffix.removeprefix(".").lower() or "png"
    if kind not in FORMATS:
        raise ValueError(
            f"`to_file` must end in {', '.join(f'.{each}' for each in FORMATS)}. Received: to_file={str(to_file)!r}"
        )
    drawing = model_to_dot(
        model, show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, dpi,
        show_layer_activations=show_layer_activations, show_trainable=show_trainable, splines=splines,
    )  # fmt: skip
    data = drawing.create(format=kind)
    (path if path.suffix else path.with_suffix(".png")).write_bytes(data)
    return drawing


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
) -> ModelDrawing:
    """A drawing of a model: DOT text (`to_string()`), or a picture (`create(format="svg")`); see `plot_model`.

    Args:
        subgraph: give the text as a `subgraph`, to be put into another graph.
    """
    if not model.built:
        raise ValueError(
            "This model has not yet been built. Build the model first by calling `build()` or by calling the model on "
            "a batch of data."
        )
    options = Options(
        show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, show_layer_activations, show_trainable
    )
    return ModelDrawing(blocks_of(model, options), options, dpi, subgraph, splines)


class ModelDrawing:
    """A drawing of a model, of which text and pictures are made."""

    def __init__(
        self, block: Block, options: Options, dpi: float = 200, subgraph: bool = False, splines: str = "ortho"
    ) -> None:
        self.block = block
        self.options = options
        self.dpi = dpi
        self.subgraph = subgraph
        self.splines = splines

    def __repr__(self) -> str:
        return f"<ModelDrawing of {self.block.name!r}: {len(self.block.inner)} boxes>"

    def to_string(self) -> str:
        """The text in the DOT language."""
        from graphcore.utils.model_pictures import dot_text

        return dot_text(self.block, self.options.rankdir, self.dpi, self.subgraph, self.splines)

    def __str__(self) -> str:
        return self.to_string()

    @property
    def drawing(self) -> Drawing:
        """The shapes of the picture."""
        from graphcore.utils.model_pictures import draw

        return draw(self.block, self.options.rankdir)

    def create(self, prog: Any = None, format: str = "png") -> bytes:
        """The drawing as "png", "svg" or "dot"; `prog` is there for those who name a program that draws."""
        from compiler.inspect.drawing import to_png, to_svg

        if format == "dot":
            return self.to_string().encode()
        if format == "svg":
            return to_svg(self.drawing).encode()
        if format == "png":
            return to_png(self.drawing, dpi=self.dpi)
        raise ValueError(f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}")

    def _repr_svg_(self) -> str:
        return self.create(format="svg").decode()


def blocks_of(model: Any, options: Options) -> Block:
    """The blocks of a model's layers; a model that is not described by its tensors is one block."""
    return Block("", model.name, (), *_inside(model, options))


def _inside(model: Any, options: Options) -> tuple[tuple[Block, ...], tuple[tuple[int, int], ...]]:
    if isinstance(model, Sequential):
        layers = model.layers
        blocks = tuple(_block(layer, layer.nodes[-1:], options) for layer in layers)
        return blocks, tuple((i, i + 1) for i in range(len(layers) - 1))
    if model.graph is None:
        return (_block(model, model.nodes[-1:], dataclasses.replace(options, expand_nested=False)),), ()
    calls: dict[Operation, list[Node]] = {operation: [] for operation in model.graph.operations}
    for node in (node for level in model.graph.nodes_by_depth.values() for node in level):
        calls[node.operation].append(node)
    number = {operation: position for position, operation in enumerate(calls)}
    edges: dict[tuple[int, int], None] = {}
    for operation, nodes in calls.items():
        for tensor in (tensor for node in nodes for tensor in node.inputs):
            maker = None if tensor.node is None else tensor.node.operation
            # A layer that reads its own earlier result is drawn once, without an arrow to itself.
            if maker in number and maker is not operation:
                edges[number[maker], number[operation]] = None
    return tuple(_block(operation, nodes[:1], options) for operation, nodes in calls.items()), tuple(edges)


def _block(layer: Any, nodes: list[Node], options: Options) -> Block:
    """The block of a layer or function, of which `nodes` has a call."""
    title = f"{layer.name} ({layer.kind})" if options.show_layer_names else layer.kind
    cells = tuple(_cells(layer, nodes, options))
    if options.expand_nested and isinstance(layer, Model) and (layer.graph is not None):
        return Block(title, layer.name, cells, *_inside(layer, options))
    return Block(title, layer.name, cells)


def _cells(layer: Any, nodes: list[Node], options: Options) -> Iterator[str]:
    activation = getattr(layer, "activation", None)
    if options.show_layer_activations and activation is not None:
        yield f"Activation: {getattr(activation, '__name__', None) or getattr(activation, 'name', None) or activation}"
    inputs, outputs = _tensors(layer, nodes)
    if options.show_shapes:
        if inputs:
            yield f"Input shape: {_listed(tensor.shape for tensor in inputs)}"
        yield f"Output shape: {_listed(tensor.shape for tensor in outputs)}"
    if options.show_dtype:
        yield f"Output dtype: {_listed(tensor.dtype for tensor in outputs)}"
    if options.show_trainable and isinstance(layer, Layer) and layer.weights:
        yield "Trainable" if layer.trainable else "Non-trainable"


def _tensors(layer: Any, nodes: list[Node]) -> tuple[list[Any], list[Any]]:
    """What a call of a layer reads and makes; for a model that was not called, what it declares."""
    if nodes:
        return list(nodes[0].inputs), [tensor for tensor in nodes[0].outputs if tensor is not None]
    if isinstance(layer, Model) and layer.graph is not None:
        return list(layer.inputs), list(layer.outputs)
    return [], []


def _listed(values: Any) -> str:
    texts = [str(value) for value in values]
    if not texts:
        return "?"
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
