"""Functions of `graphcore.ops` in configurations: written as Keras 3.15 writes them, and read back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from graphcore import Input, Model, ops
from graphcore.saving import deserialize_keras_object, operations, serialize_keras_object
from graphcore.tensor import OPERATORS

Z = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
T = object()  # stands for the model's input


def _slice(start: Any, stop: Any, step: Any = None) -> dict[str, Any]:
    return {"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": step}}


# What Keras 3.15.1 writes: module, class, configuration without the name, arguments of the call.
CASES: dict[str, tuple[Any, str, str, dict[str, Any], list[Any]]] = {
    "operator": (lambda z: z * 2, "numpy", "Multiply", {}, [T, 2]),
    "relu": (ops.relu, "nn", "Relu", {}, [T]),
    "abs": (abs, "numpy", "Absolute", {}, [T]),
    "slices": (lambda z: z[:, 1:3], "numpy", "GetItem", {}, [T, [_slice(None, None), _slice(1, 3)]]),
    "new axis": (
        lambda z: z[..., None], "numpy", "GetItem", {}, [T, [{"class_name": "__ellipsis__", "config": {}}, None]]
    ),
    "axes": (
        lambda z: ops.mean(z, axis=(1, 2), keepdims=True), "numpy", "Mean", {"axis": [1, 2], "keepdims": True}, [T]
    ),
    "dtype": (lambda z: ops.cast(z, np.float16), "core", "Cast", {"dtype": "float16"}, [T]),
    "einsum": (
        lambda z: ops.einsum("bij,bkj->bik", z, z), "numpy", "Einsum", {"subscripts": "bij,bkj->bik"}, [T, T]
    ),
    "list": (lambda z: ops.concatenate([z, z], axis=-1), "numpy", "Concatenate", {"axis": -1}, [[T, T]]),
    "array": (
        lambda z: z * np.array([1, 2, 3, 4], np.float32), "numpy", "Multiply", {},
        [T, {"class_name": "__numpy__", "config": {"value": [1.0, 2.0, 3.0, 4.0], "dtype": "float32"}}],
    ),
    "square plus": (lambda z: ops.squareplus(z, b=3), "nn", "Squareplus", {"b": 3}, [T]),
}  # fmt: skip


def rows_of(model: Model) -> list[dict[str, Any]]:
    stored: dict[str, Any] = json.loads(json.dumps(serialize_keras_object(model)))
    rows: list[dict[str, Any]] = stored["config"]["layers"]
    return rows


def plain(value: Any) -> Any:
    """Tensors replaced by `T`."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return T if isinstance(value, dict) and value["class_name"] == "__keras_tensor__" else value


@pytest.mark.parametrize("case", CASES)
def test_functions_are_written_as_keras_writes_them_and_read(case: str) -> None:
    function, module, class_name, config, args = CASES[case]
    inputs = Input((6, 4))
    model = Model(inputs, function(inputs))
    _, row = rows_of(model)
    assert (row["module"], row["class_name"]) == (f"keras.src.ops.{module}", class_name)
    assert row["registered_name"] == class_name
    assert row["config"] == {"name": row["name"], **config}
    (call,) = row["inbound_nodes"]
    assert plain(call["args"]) == args
    assert call["kwargs"] == {}
    copy = deserialize_keras_object(json.loads(json.dumps(serialize_keras_object(model))))
    found, expected = copy.predict(Z, verbose=0), model.predict(Z, verbose=0)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_layer_normalization_of_keras() -> None:
    """Keras's class has an option that there is no function for here: unused it is passed over, used it is refused."""
    inputs = Input((6, 4))
    stored = json.loads(json.dumps(serialize_keras_object(Model(inputs, ops.layer_normalization(inputs)))))
    row = stored["config"]["layers"][1]
    assert (row["class_name"], plain(row["inbound_nodes"][0]["args"])) == ("LayerNorm", [T, None, None])
    assert row["config"] == {"name": row["name"], "axis": -1, "epsilon": None}
    row["config"]["rms_scaling"] = False
    found = deserialize_keras_object(stored).predict(Z, verbose=0)
    np.testing.assert_allclose(found, ops.layer_normalization(Z), rtol=1e-6, atol=1e-6)
    row["config"]["rms_scaling"] = True
    with pytest.raises(ValueError, match="rms_scaling"):
        deserialize_keras_object(stored)


def test_what_keras_has_no_class_for_is_read_here() -> None:
    inputs = Input((6, 4))
    model = Model(inputs, ops.tri(4, 6) @ inputs)
    copy = deserialize_keras_object(json.loads(json.dumps(serialize_keras_object(model))))
    np.testing.assert_array_equal(copy.predict(Z, verbose=0), model.predict(Z, verbose=0))
    bound = ops.amax(inputs, axis=(1, 2), keepdims=True)
    model = Model(inputs, ops.clip(inputs, -1.0, bound * 0.5))  # a tensor where Keras takes a static argument
    assert rows_of(model)[-1]["module"] == "keras.ops"
    copy = deserialize_keras_object(json.loads(json.dumps(serialize_keras_object(model))))
    np.testing.assert_array_equal(copy.predict(Z, verbose=0), model.predict(Z, verbose=0))


def test_marks_name_parameters_and_no_class_stands_for_two_functions() -> None:
    marked = {name: call.__wrapped__ for name, call in OPERATORS.items() if call.__wrapped__.keras_class}
    assert len(marked) > 150
    by_class: dict[str, set[tuple[str, ...]]] = {}
    for signature in marked.values():
        known = signature.keras_class
        assert {*known.static, *filter(None, [known.operands])} <= set(signature.names)
        by_class.setdefault(known.name, set()).add((known.module, *known.static))
    assert all(len(found) == 1 for found in by_class.values())
    of_class = operations._functions()
    assert set(of_class) == set(by_class)
    assert [of_class[name] for name in ("Absolute", "Silu", "BatchNorm")] == ["absolute", "silu", "batch_normalization"]
