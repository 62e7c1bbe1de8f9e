"""Windows of series, texts in folders, batches of like lengths."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_arrays import load

import graphcore as keras
from graphcore import layers, utils

SERIES = load("series")


@pytest.mark.parametrize("name", sorted(SERIES.cases))
def test_windows_are_those_of_keras(name: str) -> None:
    case = SERIES.cases[name]
    targets = None if case["targets"] is None else SERIES[case["targets"]]
    batches = utils.timeseries_dataset_from_array(SERIES[case["data"]], targets, **case["kwargs"])
    assert len(batches) == len(case["windows"])
    for _ in range(2):
        found = list(batches)
        assert len(found) == len(case["windows"])
        for i, (batch, key) in enumerate(zip(found, case["windows"], strict=True)):
            np.testing.assert_array_equal(batch if targets is None else batch[0], SERIES[key])
            if targets is not None:
                np.testing.assert_array_equal(batch[1], SERIES[case["goals"][i]])


def test_shuffled_windows_are_the_same_windows() -> None:
    batches = keras.preprocessing.timeseries_dataset_from_array(
        np.arange(50), np.arange(50), 4, batch_size=8, shuffle=True, seed=3
    )
    orders = []
    for _ in range(2):
        pairs = list(batches)
        windows, targets = (np.concatenate(part) for part in zip(*pairs, strict=True))
        np.testing.assert_array_equal(windows, targets[:, None] + np.arange(4))
        np.testing.assert_array_equal(np.sort(targets), np.arange(47))
        orders.append(targets.tolist())
    assert orders[0] != orders[1]
    again = utils.timeseries_dataset_from_array(np.arange(50), np.arange(50), 4, batch_size=8, shuffle=True, seed=3)
    assert np.concatenate([y for _, y in again]).tolist() == orders[0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"start_index": -1}, "start_index"),
        ({"start_index": 10}, "start_index"),
        ({"end_index": 11}, "end_index"),
        ({"start_index": 5, "end_index": 5}, "end_index"),
        ({"sampling_rate": 0}, "sampling_rate"),
        ({"sequence_stride": 10}, "sequence_stride"),
        ({"batch_size": 0}, "batch_size"),
        ({"format": "list"}, "format"),
    ],
)
def test_series_arguments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utils.timeseries_dataset_from_array(np.arange(10), None, 3, **kwargs)


def test_forecasting_trains() -> None:
    keras.utils.set_random_seed(0)
    wave = np.sin(np.arange(400) / 5).astype("float32")[:, None]
    data = utils.timeseries_dataset_from_array(wave[:-10], wave[10:], 10, batch_size=32, shuffle=True, seed=1)
    stack = [layers.Conv1D(8, 3, padding="causal"), layers.Flatten(), layers.Dense(1)]
    model = keras.Sequential([keras.Input((10, 1)), *stack])
    model.compile("adam", "mse")
    model.optimizer.learning_rate = 0.01
    history = model.fit(data, epochs=6, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]


# -- texts -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, texts in (("pos", ["good film", "très bon", "fine"]), ("neg", ["bad film", "awful"])):
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "neg" / "notes.md").write_text("no text", encoding="utf-8")
    return tmp_path


def read(folder: Path, **kwargs: Any) -> Any:
    return utils.text_dataset_from_directory(folder, verbose=False, **kwargs)


def test_texts_and_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = utils.text_dataset_from_directory(folder, shuffle=False, batch_size=3)
    assert capsys.readouterr().out == "Found 5 files belonging to 2 classes.\n"
    assert data.class_names == ["neg", "pos"]
    (first, labels), (second, rest) = list(data)
    assert first.tolist() == ["bad film", "awful", "good film"]
    assert second.tolist() == ["très bon", "fine"]
    assert (labels.tolist(), rest.tolist(), labels.dtype) == ([0, 0, 1], [1, 1], np.int32)
    (_, binary), *_ = read(folder, shuffle=False, label_mode="binary")
    assert (binary.shape, binary.dtype, binary.sum()) == ((5, 1), np.float32, 3)
    (_, hot), *_ = read(folder, shuffle=False, label_mode="categorical", class_names=["pos", "neg"])
    np.testing.assert_array_equal(hot, np.eye(2)[[0, 0, 0, 1, 1]])
    assert next(iter(read(folder, labels=None, shuffle=False, batch_size=None))) == "bad film"
    assert next(iter(read(folder, label_mode=None, shuffle=False, max_length=3)))[0] == "bad"
    given = read(folder, labels=[4, 3, 2, 1, 0], shuffle=False)
    assert next(iter(given))[1].tolist() == [4, 3, 2, 1, 0]


def test_a_split_shares_no_file(folder: Path) -> None:
    both = read(folder, validation_split=0.4, subset="both", seed=5)
    training = read(folder, validation_split=0.4, subset="training", seed=5)
    texts = [{text for x, _ in part for text in x} for part in (*both, training)]
    assert (len(texts[0]), len(texts[1])) == (3, 2)
    assert not texts[0] & texts[1]
    assert texts[0] == texts[2]


def test_text_errors(folder: Path) -> None:
    for kwargs, message in (
        ({"labels": "all"}, "labels"),
        ({"labels": [1]}, "as many `labels`"),
        ({"label_mode": "ints"}, "label_mode"),
        ({"label_mode": "binary", "class_names": ["pos"]}, "exactly 2"),
        ({"class_names": ["other"]}, "class_names"),
        ({"labels": None, "class_names": ["pos"]}, "class_names"),
        ({"validation_split": 0.5}, "subset"),
        ({"validation_split": 0.5, "subset": "training"}, "seed"),
        ({"validation_split": 0.5, "subset": "all", "seed": 1}, "subset"),
    ):
        with pytest.raises(ValueError, match=message):
            read(folder, **kwargs)


def test_texts_to_a_model(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    vectorize = layers.TextVectorization(output_sequence_length=2)
    raw = read(folder, batch_size=2, seed=1)
    vectorize.adapt(raw.map(lambda text, label: text))
    stack = [layers.Embedding(20, 4), layers.Flatten(), layers.Dense(1)]
    model = keras.Sequential([keras.Input((2,), dtype="int64"), *stack])
    model.compile(keras.optimizers.Adagrad(0.5), keras.losses.BinaryCrossentropy(from_logits=True))
    history = model.fit(raw.map(lambda text, label: (vectorize(text), label)), epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


# -- buckets -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 7), st.booleans(), st.booleans(),
    st.sampled_from([None, [5, 10, 20]]),
)  # fmt: skip
def test_buckets(lengths: list[int], size: int, shuffle: bool, drop: bool, boundaries: Any) -> None:
    sequences = [[i + 1] * n for i, n in enumerate(lengths)]
    batches = utils.bucket_by_sequence_length(
        sequences, np.arange(len(lengths)), batch_size=size, bucket_boundaries=boundaries, shuffle=shuffle,
        drop_remainder=drop, seed=2,
    )  # fmt: skip
    for _ in range(2):
        seen = []
        for x, y in batches:
            assert x.shape == (len(y), max(lengths[i] for i in y))
            for row, i in zip(x, y, strict=True):
                assert row.tolist() == sequences[i] + [0] * (x.shape[1] - lengths[i])
            if boundaries:
                assert len({int(np.searchsorted(boundaries, lengths[i], side="right")) for i in y}) == 1
            assert len(y) == size or not drop
            seen += y.tolist()
        assert len(seen) == len(set(seen))
        if not drop:
            assert sorted(seen) == list(range(len(lengths)))
    if boundaries is None and not shuffle:
        assert sum(x.size for x, _ in batches) <= sum(
            max(lengths[i : i + size]) * len(lengths[i : i + size]) for i in range(0, len(lengths), size)
        )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=7), st.integers(1, 4))
def test_no_other_full_batches_and_a_short_one_have_less_padding(lengths: list[int], size: int) -> None:
    sequences = [[1] * n for n in lengths]
    batches = list(utils.bucket_by_sequence_length(sequences, batch_size=size, shuffle=False))
    whole, rest = divmod(len(lengths), size)
    assert sorted(len(x) for x in batches) == [rest] * (rest > 0) + [size] * whole

    def least(left: tuple[int, ...], short: int) -> float:
        """Of all ways to make full batches and one of `short`, or none if that is zero."""
        if not left:
            return 0 if not short else float("inf")
        costs = [float("inf")]
        for count in {size, short} - {0}:
            for others in itertools.combinations(range(1, len(left)), count - 1):
                rows = (0, *others)
                remaining = tuple(n for i, n in enumerate(left) if i not in rows)
                cost = count * max(left[i] for i in rows)
                costs.append(cost + least(remaining, 0 if count == short else short))
        return min(costs)

    assert sum(x.size for x in batches) == least(tuple(lengths), rest)


def test_buckets_with_weights_and_errors() -> None:
    sequences = [[1.5], [2.5, 3.5], [4.5, 5.5, 6.5]]
    ((x, y, w),) = utils.bucket_by_sequence_length(
        sequences, [1, 2, 3], [0.5, 1, 2], maxlen=2, dtype="float32", padding="pre", value=-1, shuffle=False
    )
    np.testing.assert_array_equal(x, [[-1, 1.5], [2.5, 3.5], [5.5, 6.5]])
    assert (y.tolist(), w.tolist()) == ([1, 2, 3], [0.5, 1, 2])
    for kwargs, message in (
        ({"sequences": []}, "needs sequences"),
        ({"sequences": sequences, "batch_size": 0}, "positive"),
        ({"sequences": sequences, "bucket_boundaries": [3, 3]}, "ascending"),
        ({"sequences": sequences, "targets": [1]}, "one target"),
    ):
        with pytest.raises(ValueError, match=message):
            utils.bucket_by_sequence_length(**kwargs)


def test_one_program_serves_all_lengths() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    sequences = [rng.integers(1, 30, n).tolist() for n in rng.integers(1, 40, 60)]
    labels = np.array([sum(s) / len(s) > 15 for s in sequences], "float32")
    data = utils.bucket_by_sequence_length(sequences, labels, batch_size=8, seed=1)
    model = keras.Sequential([
        keras.Input((None,), dtype="int32"),
        layers.Embedding(30, 8, mask_zero=True),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    ])
    model.compile(keras.optimizers.Adam(0.05), keras.losses.BinaryCrossentropy(from_logits=True))
    history = model.fit(data, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.6 * history[0]


def test_older_names() -> None:
    assert keras.preprocessing.sequence.pad_sequences is utils.pad_sequences
    assert keras.preprocessing.text_dataset_from_directory is utils.text_dataset_from_directory
