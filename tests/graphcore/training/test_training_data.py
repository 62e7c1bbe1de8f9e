"""From user data to batches: arrays, data sets, generators, weights, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from graphcore.training.data.adapters import make_adapter
from graphcore.training.data.array_adapter import ArrayAdapter
from graphcore.training.data.arrays import (
    Batch,
    pack_x_y_sample_weight,
    split_validation,
    to_array,
    unpack_x_y_sample_weight,
)
from graphcore.training.data.epochs import EpochIterator
from graphcore.training.data.iterable_adapter import IterableAdapter
from graphcore.training.data.py_dataset import PyDataset, PyDatasetAdapter
from graphcore.training.data.stretch import Layout
from graphcore.training.data.weights import class_weight_to_sample_weights, resolve_sample_weight


def rows(count: int, width: int = 2) -> np.ndarray[Any, Any]:
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def batches_of(adapter: Any, most: int = 1) -> list[Batch]:
    """The batches of an epoch of flat x, y and weights, as a program finds them in the stretches."""
    batches = []
    epoch = adapter.start()
    while (stretch := epoch.take(most)) is not None:
        assert 1 <= stretch.steps <= most
        for step in range(stretch.steps):
            rows = slice(step * stretch.rows, (step + 1) * stretch.rows)
            parts = [a[rows] if is_split else a for a, is_split in zip(stretch.arrays, stretch.split, strict=True)]
            if adapter.layout is not None and adapter.layout.by_rows:
                parts = [column[parts[0]] for column in parts[1:]]
            assert all(len(part) == stretch.rows for part in parts)
            batches.append(Batch(*parts))
    return batches


# Arrays


def test_batches_keep_the_order_and_the_smaller_last_one() -> None:
    x, y = rows(5), np.arange(5)
    adapter = ArrayAdapter(x, y, batch_size=2)
    batches = batches_of(adapter)
    assert adapter.num_batches == 3
    assert [len(batch.x) for batch in batches] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([batch.x for batch in batches]), x)
    np.testing.assert_array_equal(np.concatenate([batch.y for batch in batches]), y)


def test_the_default_batch_size_is_32_or_follows_from_the_steps() -> None:
    assert [len(b.x) for b in batches_of(ArrayAdapter(rows(40)))] == [32, 8]
    assert [len(b.x) for b in batches_of(ArrayAdapter(rows(10), steps=3))] == [4, 4, 2]


def test_shuffling_permutes_x_y_and_weights_together_anew_each_epoch() -> None:
    x, y, w = rows(20), np.arange(20), np.arange(20) / 2
    adapter = ArrayAdapter(x, y, w, batch_size=6, shuffle=True, seed=3)
    epochs = []
    for _ in range(2):
        batches = batches_of(adapter)
        order = np.concatenate([batch.y for batch in batches])
        np.testing.assert_array_equal(np.sort(order), y)
        np.testing.assert_array_equal(np.concatenate([b.x for b in batches]), x[order])
        np.testing.assert_array_equal(np.concatenate([b.sample_weight for b in batches]), w[order])
        epochs.append(order.tolist())
    assert epochs[0] != epochs[1] != y.tolist()


def test_the_order_follows_numpys_global_seed() -> None:
    def order(seed: int) -> list[int]:
        np.random.seed(seed)
        return [int(b.x[0, 0]) for b in batches_of(ArrayAdapter(rows(30), batch_size=1, shuffle=True))]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_batch_shuffling_moves_whole_batches_and_keeps_the_smaller_one_last() -> None:
    adapter = ArrayAdapter(np.arange(10)[:, None], batch_size=3, shuffle="batch", seed=0)
    starts = [batch.x[:, 0].tolist() for batch in batches_of(adapter)]
    assert sorted(starts[:3]) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert starts[3] == [9]


@pytest.mark.parametrize("shuffle", [False, True])
def test_programs_convert_floats_and_leave_everything_else(shuffle: bool) -> None:
    x = {"a": np.ones((4, 2)), "b": np.ones((4, 2), np.uint8), "c": np.ones(4, bool)}
    adapter = ArrayAdapter(x, np.ones(4, np.int64), np.ones(4, np.int32), batch_size=3, shuffle=shuffle)
    batch = adapter.peek()
    assert [batch.x[key].dtype.name for key in "abc"] == ["float32", "uint8", "bool"]
    assert batch.y.dtype == np.int64
    assert batch.sample_weight.dtype == np.float32
    assert adapter.layout == Layout(shuffle, ("float64", "uint8", "bool", "int64", "int32"))


def test_arrays_that_are_ready_need_no_layout() -> None:
    ready = ArrayAdapter(rows(4), np.ones(4, np.int64), np.ones(4, np.float32))
    assert ready.layout is None
    assert ArrayAdapter(rows(4).astype(np.float16)).layout == Layout(False, ("float16",))


@pytest.mark.parametrize("shuffle", [False, True, "batch"])
def test_nothing_is_copied(shuffle: bool | str) -> None:
    x, y = rows(6).astype(np.uint8), np.arange(6.0)
    epoch = ArrayAdapter(x, y, batch_size=4, shuffle=shuffle).start()
    while (stretch := epoch.take(2)) is not None:
        assert np.shares_memory(stretch.arrays[-2], x)
        assert np.shares_memory(stretch.arrays[-1], y)


@pytest.mark.parametrize("shuffle", [False, True, "batch"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_stretches_hold_the_same_batches_however_long_they_are(shuffle: bool | str, order: str) -> None:
    x = np.asarray(rows(23, 3), order=order)

    def numbers(most: int) -> list[list[float]]:
        adapter = ArrayAdapter(x, batch_size=4, shuffle=shuffle, seed=5)
        return [batch.x[:, 0].tolist() for batch in batches_of(adapter, most)]

    one_by_one = numbers(1)
    assert [len(batch) for batch in one_by_one] == [4, 4, 4, 4, 4, 3]
    assert sorted(number for batch in one_by_one for number in batch) == x[:, 0].tolist()
    for most in (2, 3, 5, 100):
        assert numbers(most) == one_by_one


def test_columns_in_another_memory_order_are_copied_batch_by_batch() -> None:
    x = np.asfortranarray(rows(9, 3))
    for shuffle in (False, True):
        adapter = ArrayAdapter(x, batch_size=4, shuffle=shuffle)
        assert adapter.layout is None
        assert all(batch.x.flags.c_contiguous or not shuffle for batch in batches_of(adapter, 10))


def test_nested_structures_stay() -> None:
    x, y = [rows(4), {"b": rows(4, 1), "a": rows(4, 3)}], (rows(4), None)
    adapter = ArrayAdapter(x, y, batch_size=3)
    batch = adapter.peek()
    assert batch.x[1]["b"].shape == (3, 1)
    assert batch.x[1]["a"].shape == (3, 3)
    assert isinstance(batch.y, tuple)
    assert batch.y[1] is None
    assert [column.shape[1] for column in adapter.columns] == [2, 3, 1, 2]  # dicts by their sorted keys


class Frame:
    """As much of a pandas DataFrame or Series as is used."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def to_numpy(self) -> np.ndarray[Any, Any]:
        return self.array


def test_frames_and_series() -> None:
    batch = ArrayAdapter(Frame(np.ones((3, 2))), Frame(np.arange(3))).peek()
    assert batch.x.shape == (3, 2)
    assert batch.y.shape == (3, 1)


def test_other_byte_orders_are_converted() -> None:
    array = to_array(np.array([1, 2], dtype=">i4"), "x")
    assert array is not None
    assert array.dtype.isnative
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": rows(5), "y": rows(4)}, r"Data cardinality is ambiguous.*'x' sizes: 5; 'y' sizes: 4"),
        ({"x": [rows(5), rows(6)], "y": rows(5)}, r"'x' sizes: 5, 6; 'y' sizes: 5"),
        ({"x": rows(5), "y": rows(5), "sample_weight": np.ones(3)}, "'sample_weight' sizes: 3"),
        ({"x": rows(0)}, r"`x` has no samples. Received: shape=\(0, 2\)"),
        ({"x": None}, r"no arrays in `x`"),
        ({"x": rows(3), "batch_size": 0}, "`batch_size` must be a positive integer or None. Received: batch_size=0"),
        ({"x": rows(3), "batch_size": -1}, "batch_size=-1"),
        ({"x": rows(3), "batch_size": 2.0}, r"batch_size=2\.0"),
        ({"x": rows(3), "batch_size": True}, "batch_size=True"),
        ({"x": [1.0, 2.0]}, r"`x\[0\]` must be a NumPy array. Received: 1.0 of type float"),
        ({"x": "text"}, "`x` must be a NumPy array. Received: 'text' of type str"),
        ({"x": np.array(["a", "b"])}, "`x` must hold numbers. Received: dtype=<U1"),
        ({"x": {"a": np.array([None, 1])}}, r"`x\['a'\]` must hold numbers. Received: dtype=object"),
        ({"x": rows(2), "y": np.array([1j, 2])}, "`y` must hold numbers. Received: dtype=complex128"),
        ({"x": np.float32(3)}, r"`x` must have a first axis that counts the samples. Received: shape=\(\)"),
        ({"x": 3}, "`x` must be a NumPy array. Received: 3 of type int"),
        (
            {"x": rows(2), "y": np.arange(2), "sample_weight": np.ones(2), "class_weight": {0: 1.0}},
            "cannot specify `class_weight` and `sample_weight` at the same time",
        ),
    ],
)
def test_arrays_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_adapter(**arguments)


# Splitting, packing


def test_the_split_takes_the_last_samples() -> None:
    data = Batch(rows(10), {"a": np.arange(10)}, None)
    train, held_out = split_validation(data, 0.25)
    assert len(train.x) == 7
    np.testing.assert_array_equal(held_out.x, data.x[7:])
    np.testing.assert_array_equal(held_out.y["a"], [7, 8, 9])
    assert held_out.sample_weight is None


@pytest.mark.parametrize(("fraction", "message"), [(1.0, "between 0 and 1"), (-0.1, "between 0 and 1")])
def test_split_fractions(fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_validation(Batch(rows(10)), fraction)


def test_a_split_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="too few to split"):
        split_validation(Batch(rows(1)), 0.5)


def test_packing_and_unpacking() -> None:
    x, y, w = rows(2), rows(2), np.ones(2)
    assert pack_x_y_sample_weight(x) is x
    assert pack_x_y_sample_weight([x, x]) == ([x, x],)
    assert len(pack_x_y_sample_weight(x, y, w)) == 3
    assert unpack_x_y_sample_weight([x, y]) == (x, y, None)
    assert unpack_x_y_sample_weight(x) == (x, None, None)
    with pytest.raises(ValueError, match="a tuple of 4 elements"):
        unpack_x_y_sample_weight((x, y, w, w))


# Weights


def test_class_weights_of_integer_and_one_hot_labels() -> None:
    weights = {0: 0.5, 2: 4.0}
    expected = [0.5, 1.0, 4.0, 0.5]
    labels = np.array([0, 1, 2, 0])
    for y in (labels, labels[:, None], labels.astype(np.float32) + 0.1, np.eye(3)[labels]):
        result = class_weight_to_sample_weights(y, weights)
        np.testing.assert_array_equal(result, np.array(expected, np.float32))
        assert result.dtype == np.float32


@pytest.mark.parametrize(
    ("y", "class_weight", "message"),
    [
        (np.arange(3), [1.0, 2.0], "must be a dict from class index to weight"),
        ([np.arange(3), np.arange(3)], {0: 1.0}, "only supported for models with a single output"),
        (None, {0: 1.0}, "only supported for models with a single output"),
        (np.array([0.0, np.nan]), {0: 1.0}, "needs finite labels"),
        (np.zeros((3, 4, 5)), {0: 1.0}, "needs one class for each sample"),
    ],
)
def test_class_weights_that_are_refused(y: Any, class_weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_weight_to_sample_weights(y, class_weight)


def test_one_weight_array_serves_all_outputs() -> None:
    y = {"a": np.zeros(3), "b": np.zeros((3, 1))}
    w = np.ones(3)
    assert resolve_sample_weight(y, w, None) == {"a": w, "b": w}
    with pytest.raises(ValueError, match="one weight for each sample"):
        resolve_sample_weight(y, np.ones((3, 2)), None)
    with pytest.raises(ValueError, match="one for each of the 2 targets"):
        resolve_sample_weight(y, [w, w, w], None)


# Data sets and iterables


class Squares(PyDataset):
    def __init__(self, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.epochs: list[str] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return np.full((2, 1), index), np.full(2, index**2)

    def on_epoch_begin(self) -> None:
        self.epochs.append("begin")

    def on_epoch_end(self) -> None:
        self.epochs.append("end")


class Endless(PyDataset):
    @property
    def num_batches(self) -> None:
        return None

    def __getitem__(self, index: int) -> Any:
        return (np.full((1, 1), index),)


@pytest.mark.parametrize("kwargs", [{}, {"workers": 3, "max_queue_size": 2}])
def test_data_sets_give_their_batches_in_order(kwargs: dict[str, Any]) -> None:
    adapter = make_adapter(Squares(7, **kwargs))
    assert adapter.num_batches == 7
    assert [int(batch.y[0]) for batch in adapter.batches()] == [i**2 for i in range(7)]


def test_data_sets_are_shuffled_by_batches() -> None:
    order = [int(batch.x[0, 0]) for batch in make_adapter(Squares(30), shuffle=True).batches()]
    assert order != sorted(order)
    assert sorted(order) == list(range(30))


def test_data_sets_hear_of_epochs() -> None:
    dataset = Squares(2)
    epochs = EpochIterator(make_adapter(dataset))
    for _ in range(2):
        list(epochs.epoch())
    assert dataset.epochs == ["begin", "end"] * 2


def test_an_endless_data_set_needs_steps() -> None:
    with pytest.raises(ValueError, match="the number of steps must be passed"):
        make_adapter(Endless())
    epochs = EpochIterator(make_adapter(Endless(), steps=3), 3)
    assert [firsts(epochs) for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]


def test_class_weights_of_data_sets() -> None:
    adapter = PyDatasetAdapter(Squares(2), class_weight={1: 3.0})
    assert [batch.sample_weight.tolist() for batch in adapter.batches()] == [[1.0, 1.0], [3.0, 3.0]]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [(Squares(0), "has no batches"), (PyDataset(), "must define")],
)
def test_data_sets_that_are_refused(dataset: PyDataset, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make_adapter(dataset)


@pytest.mark.parametrize("name", ["y", "sample_weight", "batch_size"])
def test_arguments_that_data_sets_bring_themselves(name: str) -> None:
    value: Any = 2 if name == "batch_size" else np.zeros(2)
    with pytest.raises(ValueError, match=f"With `x` a PyDataset, `{name}` must not be passed"):
        make_adapter(Squares(1), **{name: value})


def numbers(count: int) -> Iterator[tuple[Any, ...]]:
    for i in range(count):
        yield (np.full((2, 1), float(i)), np.zeros(2))


def test_a_generator_is_consumed_once() -> None:
    adapter = make_adapter(numbers(3))
    assert adapter.num_batches is None
    assert float(adapter.peek().x[0, 0]) == 0
    assert [float(b.x[0, 0]) for b in adapter.batches()] == [0, 1, 2]
    assert list(adapter.batches()) == []


class Loader:
    """A data loader: iterable again and again, of known length."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return numbers(3)


def test_a_loader_starts_anew_each_epoch() -> None:
    adapter = make_adapter(Loader())
    assert adapter.num_batches == 3
    for _ in range(2):
        assert [float(b.x[0, 0]) for b in adapter.batches()] == [0, 1, 2]


def test_batches_of_a_generator_are_checked_and_say_where_they_come_from() -> None:
    def ragged() -> Iterator[Any]:
        yield np.zeros((2, 1)), np.zeros(3)

    with pytest.raises(ValueError, match="cardinality") as caught:
        make_adapter(ragged())
    assert caught.value.__notes__ == ["in a batch that generator made"]


def test_an_empty_generator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`x` yields no batches\. Received: an empty generator"):
        make_adapter(numbers(0))


# Epochs


def firsts(epochs: EpochIterator) -> list[int]:
    return [int(stretch.arrays[0][0, 0]) for stretch in epochs.epoch()]


def test_steps_go_on_where_the_epoch_before_stopped() -> None:
    epochs = EpochIterator(ArrayAdapter(np.arange(6)[:, None], batch_size=1), 2)
    assert [firsts(epochs) for _ in range(4)] == [[0, 1], [2, 3], [4, 5], [0, 1]]


def test_data_that_run_out_give_a_short_epoch_and_one_warning() -> None:
    epochs = EpochIterator(ArrayAdapter(np.arange(4)[:, None], batch_size=1), 3)
    assert firsts(epochs) == [0, 1, 2]
    with pytest.warns(UserWarning, match="this epoch had 1 of 3 batches. With `steps_per_epoch`"):
        assert firsts(epochs) == [3]
    assert epochs.ran_out
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert firsts(epochs) == [0, 1, 2]
        assert firsts(epochs) == [3]


def test_a_used_up_generator_ends_with_a_warning() -> None:
    epochs = EpochIterator(IterableAdapter(numbers(2)))
    assert firsts(epochs) == [0, 1]
    assert epochs.num_batches == 2
    with pytest.warns(UserWarning, match="this epoch had 0 of 2 batches"):
        assert firsts(epochs) == []


def test_a_loader_without_length_is_restarted_at_its_end() -> None:
    class Unsized:
        def __iter__(self) -> Iterator[Any]:
            return numbers(4)

    epochs = EpochIterator(IterableAdapter(Unsized()), 2)
    assert [firsts(epochs) for _ in range(3)] == [[0, 1], [2, 3], [0, 1]]


def test_reset_begins_at_the_start() -> None:
    epochs = EpochIterator(ArrayAdapter(np.arange(4)[:, None], batch_size=1), 3)
    assert firsts(epochs) == [0, 1, 2]
    epochs.reset()
    assert firsts(epochs) == [0, 1, 2]
