"""The transformer's example at reduced size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphcore as keras
from examples import shakespeare_transformer as example
from examples import tools


@pytest.fixture(autouse=True)
def reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    keras.utils.set_random_seed(0)
    monkeypatch.setattr(example, "LENGTH", 24)
    monkeypatch.setattr(example, "BATCH", 16)


def test_texts_and_pieces() -> None:
    text = example.Text("to be or not")
    assert text.decode(text.encode("be to")) == "be to"
    long = example.Text("abcdefgh" * 10)
    pieces = example.RandomPieces(long.ids, 3)
    characters, following = pieces[0]
    assert len(pieces) == 3
    assert characters.shape == following.shape == (16, 24)
    np.testing.assert_array_equal((characters + 1) % 8, following)
    assert not np.array_equal(characters, pieces[1][0])
    again = example.RandomPieces(long.ids, 3)
    np.testing.assert_array_equal(characters, again[0][0])
    again.on_epoch_end()
    assert not np.array_equal(characters, again[0][0]), "every epoch draws other pieces"


def test_a_rule_is_learnt_and_written_and_nothing_behind_is_seen() -> None:
    # After "x" and a letter comes that letter again: only attention to what came before can tell.
    rng = np.random.default_rng(0)
    text = example.Text("".join(f"x{letter}{letter}" for letter in rng.choice(list("abcdefgh"), 1500)))
    model = example.build_model(len(text.characters), width=16, blocks=1, heads=2)
    history = example.train(model, text.ids, steps=240, epochs=2)
    bound = np.log(8) / 3  # one letter in three is drawn, the others follow
    assert bound * 0.95 < history.history["val_loss"][-1] < bound + 0.15
    piece = text.ids[None, :24]
    changed = piece.copy()
    changed[:, 20:] = 0
    before, after = (model.predict(x, verbose=0)[:, :20] for x in (piece, changed))
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-6)
    written = example.write(model, text, "xaaxb", 60, temperature=0.2)
    assert len(written) == 60
    assert written.startswith("xaaxbb")
    assert written == example.write(model, text, "xaaxb", 60, temperature=0.2)


@pytest.mark.slow
def test_shakespeare_at_reduced_size(data_folder: Path) -> None:
    text = example.Text(tools.data_file("tinyshakespeare.txt").read_text(encoding="utf-8"))
    assert len(text.characters) == 65
    model = example.build_model(65, width=48, blocks=1)
    history = example.train(model, text.ids[:200_000], steps=300, epochs=2)
    assert history.history["val_loss"][-1] < 2.45
