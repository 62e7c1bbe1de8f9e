"""The examples at reduced size: on small made-up data, and on the real data where it is there.

Made-up data can be learnt, so that an example that reads, masks, trains or judges wrongly stays near chance.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

import graphcore as keras
from examples import imdb_lstm, pm25_forecast, sentences_cnn, tools, vowels_gru
from graphcore.datasets.files import DatasetUnavailableError


@pytest.fixture(autouse=True)
def seed() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that $GRAPHCORE_DATA names, and an empty cache."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("GRAPHCORE_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


# What is missing


@pytest.mark.parametrize("name", ["JapaneseVowels_TRAIN.ts", "tinyshakespeare.txt"])
def test_a_missing_file_is_named_with_the_folder_and_the_way_out(name: str, made_up: Path) -> None:
    with pytest.raises(DatasetUnavailableError) as caught:
        tools.data_file(name)
    for part in (name, str(made_up), "--data FOLDER", "GRAPHCORE_DATA=FOLDER", "examples/README.md"):
        assert part in str(caught.value)


def test_the_command_line_ends_with_the_message(made_up: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["vowels_gru", "--data", str(tmp_path / "elsewhere")])
    with pytest.raises(SystemExit, match="elsewhere") as caught:
        tools.main(vowels_gru.__doc__, vowels_gru.run)
    assert "JapaneseVowels_TRAIN.ts" in str(caught.value)


def test_the_command_line_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["name", "--seed", "3"])
    tools.main("A text.", lambda: [("test accuracy", "91.2%")])
    printed = capsys.readouterr().out
    assert "test accuracy" in printed
    assert "91.2%" in printed
    assert "time, compiling included" in printed


def test_the_readme_names_every_example() -> None:
    folder = Path(tools.__file__).parent
    text = (folder / "README.md").read_text(encoding="utf-8")
    names = {path.stem for path in folder.glob("*.py")} - {"__init__", "tools"}
    assert len(names) >= 4
    assert [name for name in names if f"`examples.{name}`" not in text] == []


# IMDB


def write_reviews(folder: Path) -> None:
    """Reviews of 5 to 40 words, of which the positive ones have two of the first ten words, the others of the next."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"vocab": np.frombuffer("\n".join(f"w{i}" for i in range(60)).encode(), np.uint8)}
    for part, count in (("train", 240), ("test", 80)):
        labels = rng.integers(0, 2, count)
        reviews = []
        for label in labels:
            review = rng.integers(23, 63, rng.integers(5, 40))
            review[rng.choice(len(review), 2, replace=False)] = 3 + 10 * (1 - label) + rng.integers(0, 10, 2)
            reviews.append(np.concatenate([[1], review]))
        arrays[f"x_{part}"] = np.concatenate(reviews).astype("uint16")
        arrays[f"off_{part}"] = np.cumsum([0, *map(len, reviews)]).astype("int32")
        arrays[f"y_{part}"] = labels.astype("uint8")
    np.savez(folder / "imdb_ids20k_15k.npz", **arrays)


def test_reviews_are_learnt(made_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imdb_lstm, "LENGTH", 44)
    write_reviews(made_up)
    (x, y), (x_test, y_test) = imdb_lstm.load()
    assert x.shape == (240, 44)
    assert (x[:, 0] == 1).all()  # the mark of the start: padding comes last
    assert (x[:, 41:] == 0).all()
    model = imdb_lstm.build_model(units=16)
    imdb_lstm.train(model, x, y, epochs=40)
    assert model.evaluate(x_test, y_test, verbose=0)[1] >= 0.85


@pytest.mark.slow
def test_reviews_of_imdb_at_reduced_size(data_folder: Path) -> None:
    (x, y), (x_test, y_test) = imdb_lstm.load()
    model = imdb_lstm.build_model(units=32)
    imdb_lstm.train(model, x[:3000, :80], y[:3000], epochs=4)
    assert model.evaluate(x_test[:1500, :80], y_test[:1500], verbose=0)[1] >= 0.68


# JapaneseVowels


def write_utterances(path: Path, count: int, seed: int) -> None:
    """Each speaker has a curve; utterances are noisy pieces of 7 to 29 frames of it."""
    rng = np.random.default_rng(seed)
    lines = ["#comment", "@problemName Made", "@data"]
    for row in range(count):
        speaker = row % vowels_gru.SPEAKERS
        phase = np.random.default_rng(100 + speaker).uniform(0, 6, (vowels_gru.CHANNELS, 1))
        frames = np.sin(phase + np.linspace(0, 2, rng.integers(7, 30))) + rng.normal(0, 0.2, (vowels_gru.CHANNELS, 1))
        lines.append(":".join(",".join(f"{v:.6f}" for v in channel) for channel in frames) + f":{speaker + 1}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_utterances_are_learnt_and_padding_changes_nothing(tmp_path: Path) -> None:
    write_utterances(tmp_path / "train.ts", 90, 0)
    write_utterances(tmp_path / "test.ts", 45, 1)
    (train, y), (test, y_test) = (vowels_gru.read(tmp_path / f"{part}.ts") for part in ("train", "test"))
    assert all(7 <= len(u) <= 29 and u.shape[1] == vowels_gru.CHANNELS for u in train)
    assert set(y) == set(range(vowels_gru.SPEAKERS))
    model = vowels_gru.build_model(units=8)
    vowels_gru.train(model, vowels_gru.padded(train), y, epochs=25)
    x_test = vowels_gru.padded(test)
    assert model.evaluate(x_test, y_test, verbose=0)[1] >= 0.9
    longer = np.pad(x_test, ((0, 0), (0, 9), (0, 0)), constant_values=vowels_gru.PADDING)
    alone = model.predict(test[0][None], verbose=0)
    for x in (x_test, longer):
        np.testing.assert_allclose(model.predict(x[:1], verbose=0), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_utterances_of_japanese_vowels_at_reduced_size(data_folder: Path) -> None:
    x, y = vowels_gru.read(tools.data_file("JapaneseVowels_TRAIN.ts"))
    x_test, y_test = vowels_gru.read(tools.data_file("JapaneseVowels_TEST.ts"))
    assert (len(x), len(x_test)) == (270, 370)
    model = vowels_gru.build_model(units=24)
    vowels_gru.train(model, vowels_gru.padded(x), y, epochs=25)
    assert model.evaluate(vowels_gru.padded(x_test), y_test, verbose=0)[1] >= 0.93


# PM2.5


def write_hours(path: Path) -> None:
    """Three years of 60 days: dust follows the hour of the day, so that tomorrow is known; some hours are missing."""
    rng = np.random.default_rng(0)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("No,year,month,day,hour,pm2.5,DEWP,TEMP,PRES,cbwd,Iws,Is,Ir\n")
        for number in range(3 * 60 * 24):
            year, hour = 2012 + number // (60 * 24), number % 24
            dust = 100 + 80 * np.sin(2 * np.pi * hour / 24) + rng.normal(0, 5)
            value = "NA" if number < 5 or rng.random() < 0.01 else f"{dust:.0f}"
            file.write(f"{number + 1},{year},1,1,{hour},{value},-5,{hour},1020,NW,{1 + number % 7},0,0\n")


def test_hours_are_forecast_better_than_by_persistence(tmp_path: Path) -> None:
    write_hours(tmp_path / "hours.csv.gz")
    hours = pm25_forecast.read(tmp_path / "hours.csv.gz")
    assert np.isnan(hours.pm25[:5]).all()
    assert np.isfinite(hours.inputs).all()
    training, validation, test = (pm25_forecast.windows(hours, (year,)) for year in (2012, 2013, 2014))
    model = pm25_forecast.build_model(training[0], units=12)
    pm25_forecast.train(model, training, validation, epochs=8)
    inputs, last, coming = test
    squared, _ = pm25_forecast.errors(pm25_forecast.forecast(model, inputs, last), coming)
    persistent, _ = pm25_forecast.errors(last, coming)
    hidden = pm25_forecast.AHEAD < 24  # after a day, the same hour: nothing beats persistence by much
    assert (squared[hidden] < 0.7 * persistent[hidden]).all()


def test_windows_end_before_what_they_forecast() -> None:
    count = 120
    ticks = np.arange(count, dtype=float)
    measured = np.where(ticks == 60, np.nan, ticks)
    hours = pm25_forecast.Hours(np.full(count, 2014), measured, ticks[:, None].astype("float32"))
    inputs, last, coming = pm25_forecast.windows(hours, (2014,))
    np.testing.assert_array_equal(inputs[:, -1, 0], last[:, 0])
    np.testing.assert_array_equal(inputs[:, 0, 0], last[:, 0] - (pm25_forecast.HISTORY - 1))
    np.testing.assert_array_equal(coming, last + pm25_forecast.AHEAD)
    assert not np.isin(60, last)
    assert not np.isin(60, coming)


def test_the_last_known_value_stands_in() -> None:
    nan = np.nan
    np.testing.assert_array_equal(pm25_forecast.last_known(np.array([nan, 3, nan, nan, 5, nan])), [0, 3, 3, 3, 5, 5])


@pytest.mark.slow
def test_hours_of_beijing_at_reduced_size(data_folder: Path) -> None:
    hours = pm25_forecast.read(tools.data_file("beijing-pm25.csv.gz"))
    training, validation, test = (pm25_forecast.windows(hours, (year,)) for year in (2012, 2013, 2014))
    model = pm25_forecast.build_model(training[0], units=24)
    pm25_forecast.train(model, training, [part[::4] for part in validation], epochs=5)
    inputs, last, coming = test
    squared, _ = pm25_forecast.errors(pm25_forecast.forecast(model, inputs, last), coming)
    persistent, _ = pm25_forecast.errors(last, coming)
    assert (squared[2:] < 0.95 * persistent[2:]).all()


# rt-polarity


def write_sentences(folder: Path) -> None:
    """The pair 'not good' is negative and 'good not' positive: single words do not tell."""
    rng = np.random.default_rng(0)
    for name, pair in (("neg", ["not", "good"]), ("pos", ["good", "not"])):
        lines = []
        for _ in range(200):
            words = [f"w{i}" for i in rng.integers(0, 30, rng.integers(3, 12))]
            place = rng.integers(0, len(words))
            lines.append(" ".join([*words[:place], *pair, *words[place:]]))
        (folder / f"rt-polarity.{name}").write_text("\n".join(lines) + "\n", encoding="latin-1")


def test_sentences_are_learnt_by_their_pairs(made_up: Path) -> None:
    write_sentences(made_up)
    sentences, labels = sentences_cnn.load()
    vectorizer = sentences_cnn.make_vectorizer(sentences[100:])
    x = vectorizer(sentences)
    assert x.shape == (400, sentences_cnn.LENGTH)
    assert (x[:, -1] == 0).all()
    model = sentences_cnn.build_model(vectorizer.vocabulary_size(), units=16, filters=16)
    sentences_cnn.train(model, x[100:], labels[100:], epochs=25)
    assert model.evaluate(x[:100], labels[:100], verbose=0)[1] >= 0.9


@pytest.mark.slow
def test_sentences_of_rt_polarity_at_reduced_size(data_folder: Path) -> None:
    sentences, labels = sentences_cnn.load()
    assert len(sentences) == 10_662
    vectorizer = sentences_cnn.make_vectorizer(sentences[1000:6000])
    model = sentences_cnn.build_model(vectorizer.vocabulary_size(), units=32, filters=32)
    sentences_cnn.train(model, vectorizer(sentences[1000:6000]), labels[1000:6000], epochs=6)
    assert model.evaluate(vectorizer(sentences[:1000]), labels[:1000], verbose=0)[1] >= 0.68
