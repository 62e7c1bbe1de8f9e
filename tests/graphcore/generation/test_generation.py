"""Generation: greedy results against full recomputation, one program for every length, the bits of any thread count."""

import functools
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import graphcore
from compiler.driver import compile_graph
from compiler.ir import Builder
from compiler.types import TensorType
from graphcore import layers, ops
from graphcore.generation import Generator, generate
from graphcore.generation.sampling import Sampler
from runtime.dimensions import symbol

TOKENS = 23


class Positions(layers.Layer):
    """A learned vector for each place."""

    def build(self, shape):
        self.table = self.add_weight((160, shape[-1]), name="table")

    def call(self, x):
        return x + ops.take(self.table, ops.arange(ops.shape(x)[1]), axis=0)


class FirstRows(layers.Layer):
    """A learned vector for each of at most 16 places."""

    def build(self, shape):
        self.table = self.add_weight((16, shape[-1]), name="table")

    def call(self, x):
        return x + ops.slice(self.table, (0, 0), (ops.shape(x)[1], x.shape[-1]))


class Waves(layers.Layer):
    """Sines and cosines of the place."""

    def call(self, x):
        width = x.shape[-1] // 2
        places = ops.cast(ops.arange(ops.shape(x)[1]), "float32")
        angles = ops.expand_dims(places, 1) / ops.power(50.0, ops.arange(width, dtype="float32") / width)
        return x + ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


@functools.cache
def decoder(attention, places=Positions, softmax=False, seed=1, norm=layers.LayerNormalization):
    """Two pre-normalised blocks."""
    graphcore.utils.set_random_seed(seed)
    tokens = layers.Input((None,), dtype="int32")
    x = places()(layers.Embedding(TOKENS, 12)(tokens))
    for _ in range(2):
        y = norm()(x)
        x = layers.Dropout(0.1)(x + attention()(y, y, use_causal_mask=True))
        y = layers.Dense(24, activation="gelu")(norm()(x))
        x = x + layers.Dense(12)(y)
    outputs = layers.Dense(TOKENS, activation="softmax" if softmax else None)(norm()(x))
    model = graphcore.Model(tokens, outputs)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.ndim > 1:  # large enough for results that change from place to place
            weight.assign(rng.normal(size=weight.shape) * 2 / np.sqrt(weight.shape[-1]))
    return model


def recomputed(model, prompt, length):
    """Greedy generation from the whole sequence at each step."""
    tokens = np.asarray(prompt, np.int32)
    while tokens.shape[1] < length:
        scores = model.predict_on_batch(tokens)[:, -1]
        tokens = np.concatenate([tokens, scores.argmax(-1)[:, None].astype(np.int32)], 1)
    return tokens


PROMPTS = np.random.default_rng(3).integers(0, TOKENS, size=(3, 5))
ATTENTION = {
    "multi_head": lambda: layers.MultiHeadAttention(2, 6),
    "value_dim": lambda: layers.MultiHeadAttention(3, 4, value_dim=5, dropout=0.2, use_gate=True),
    "groups": lambda: layers.GroupQueryAttention(4, 4, 2),
    "window": lambda: layers.MultiHeadAttention(2, 6, sliding_window=4),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_greedy_equals_recomputation(name):
    model = decoder(ATTENTION[name], Waves if name == "groups" else Positions)
    prompts = np.random.default_rng(9).integers(0, TOKENS, size=(3, 57))
    expected = recomputed(model, prompts, 72)  # the caches hold 64 positions, then more
    assert len(np.unique(expected[:, 57:])) > 5  # no standstill that anything would reproduce
    np.testing.assert_array_equal(generate(model, prompts, 72), expected)
    np.testing.assert_array_equal(generate(model, prompts[1], 72), expected[1])


def test_rms_normalization_and_probabilities():
    model = decoder(ATTENTION["multi_head"], softmax=True, norm=layers.RMSNormalization)
    expected = recomputed(model, PROMPTS[:1], 14)
    np.testing.assert_array_equal(generate(model, PROMPTS[:1], 14, from_logits=False), expected)
    drawn = generate(model, PROMPTS, 14, "random", temperature=1e-4, seed=1, from_logits=False)
    np.testing.assert_array_equal(drawn[:1], expected)


def test_single_head_attention():
    tokens = layers.Input((None,), dtype="int32")
    x = Positions()(layers.Embedding(TOKENS, 12)(tokens))
    x = x + layers.Attention(use_scale=True)([x, x], use_causal_mask=True)
    model = graphcore.Model(tokens, layers.Dense(TOKENS)(x))
    np.testing.assert_array_equal(generate(model, PROMPTS, 14), recomputed(model, PROMPTS, 14))


def test_one_program_for_every_length():
    """Prompts, lengths, batches and capacities differ; keys beyond the block of the last position are never read."""
    model = decoder(ATTENTION["multi_head"])
    generator = Generator(model)
    compiled = generator.compiled
    for batch, length, total in ((1, 1, 3), (3, 5, 70), (2, 40, 150)):
        prompt = np.random.default_rng(length).integers(0, TOKENS, size=(batch, length))
        found = generator(prompt, total)
        assert generator.compiled is compiled
        stop = min(length + 4, total)
        np.testing.assert_array_equal(found[:, :stop], recomputed(model, prompt, stop))
    pairs = zip(generator.graph.variables, generator._arrays, strict=True)
    held = [array.shape for entry, array in pairs if entry.name.startswith("cache")]
    # Of 2 sequences with 2 heads, for 150 positions in blocks of 64; keys are turned.
    assert held == [(2 * 2 * 6 * 192, 1), (2 * 2 * 192, 6)] * 2


def test_new_weights_are_seen():
    model = decoder(ATTENTION["multi_head"], seed=3)
    before = generate(model, PROMPTS, 30)
    model.set_weights(decoder(ATTENTION["multi_head"], seed=2).get_weights())
    after = generate(model, PROMPTS, 30)
    assert (before != after).any()
    np.testing.assert_array_equal(after[:, :12], recomputed(model, PROMPTS, 12))


@pytest.mark.usefixtures("threads_restored")
def test_same_bits_at_any_thread_count():
    model = decoder(ATTENTION["multi_head"])
    found = []
    for threads in (1, 2, 3, 4):
        graphcore.config.set_num_threads(threads)
        generator = Generator(model, "random")
        tokens = generator(PROMPTS, 100, seed=5)
        found.append([tokens, *(np.array(array) for array in generator._arrays)])
    for others in found[1:]:
        for array, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(array, other)


def test_seed():
    model = decoder(ATTENTION["multi_head"])
    one, again = (generate(model, PROMPTS, 60, "random", seed=7, temperature=2.0) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert (generate(model, PROMPTS, 60, "random", seed=8, temperature=2.0) != one).any()
    assert (generate(model, PROMPTS, 60, "random", temperature=2.0) != generate(
        model, PROMPTS, 60, "random", temperature=2.0)).any()  # fmt: skip


def test_no_more_positions_than_the_table_has():
    model = decoder(ATTENTION["multi_head"], FirstRows)
    expected = recomputed(model, PROMPTS, 17)  # the last token is not read
    np.testing.assert_array_equal(generate(model, PROMPTS, 17), expected)
    with pytest.raises(ValueError, match=r"table of 16 positions.* at most 17.*max_length=18"):
        generate(model, PROMPTS, 18)


def test_several_threads():
    """Each call has the caches, the position and the random numbers for itself; one program is made."""
    model = decoder(ATTENTION["multi_head"], seed=4)
    prompts = [np.random.default_rng(i).integers(0, TOKENS, size=(1 + i % 3, 3 + i)) for i in range(6)]
    expected = [generate(model, prompt, 80, "random", seed=i) for i, prompt in enumerate(prompts)]
    fresh = decoder(ATTENTION["multi_head"], seed=5)
    fresh.set_weights(model.get_weights())
    together = Barrier(len(prompts))

    def work(number):
        together.wait()
        return [generate(fresh, prompts[number], 80, "random", seed=number) for _ in range(3)]

    with ThreadPoolExecutor(len(prompts)) as pool:
        results = list(pool.map(work, range(len(prompts))))
    for found, right in zip(results, expected, strict=True):
        for tokens in found:
            np.testing.assert_array_equal(tokens, right)


def test_end_token():
    model = decoder(ATTENTION["multi_head"])
    whole = generate(model, PROMPTS, 90)
    end = int(whole[0, 30])
    found = generate(model, PROMPTS, 90, end_token=end)
    assert found.shape[1] <= 90
    for row, full in zip(found, whole, strict=True):
        places = np.flatnonzero(full[5:] == end)
        stop = 5 + int(places[0]) if places.size else 89
        np.testing.assert_array_equal(row[: stop + 1], full[: stop + 1])
        assert (row[stop + 1 :] == end).all()
    first = int(whole[0, 5])
    np.testing.assert_array_equal(generate(model, PROMPTS[:1], 90, end_token=first), whole[:1, :6])


def drawn(sampler, scores, count, temperature):
    """Tokens that a sampler chooses for one row of scores, `count` times."""
    b = Builder("draw")
    value = b.input("scores", TensorType((symbol("batch"), len(scores)), "float32"))
    b.output("tokens", sampler.choose(b, value))
    state = np.array([3, 0], np.uint32)
    inputs = [np.tile(np.float32(scores), (count, 1)), np.asarray(temperature, np.float32)]
    (tokens,) = compile_graph(b.build()).executable.run(inputs, [state])
    assert state.tolist() == [3, 1]
    return tokens


def test_random_sampler_draws_from_the_softmax():
    scores, temperature, count = np.array([0.5, 2.0, -1.0, 1.0]), 0.8, 20000
    found = np.bincount(drawn(Sampler("random", 1, True), scores, count, temperature), minlength=4) / count
    expected = np.exp(scores / temperature) / np.exp(scores / temperature).sum()
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / count))


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_top_k_sampler_draws_among_the_k_best(k):
    scores, count = np.array([0.5, 2.0, -1.0, 1.0, 0.0]), 20000
    found = np.bincount(drawn(Sampler("top_k", k, True), scores, count, 1.0), minlength=5) / count
    kept = np.where(scores >= np.sort(scores)[-min(k, 5)], np.exp(scores), 0)
    np.testing.assert_allclose(found, kept / kept.sum(), atol=4 * np.sqrt(0.25 / count))
    assert ((found > 0) == (kept > 0)).all()


def test_top_k_compiled():
    model = decoder(ATTENTION["multi_head"])
    np.testing.assert_array_equal(generate(model, PROMPTS, 40, "top_k", k=1, seed=1), generate(model, PROMPTS, 40))
    assert (generate(model, PROMPTS, 40, "top_k", k=4, seed=1) != generate(model, PROMPTS, 40)).any()


class Mean(layers.Layer):
    def call(self, x):
        return x + ops.mean(x, axis=1, keepdims=True)


class Backwards(layers.Layer):
    def call(self, x):
        return x + ops.flip(x, axis=1)


class Rows(layers.Layer):
    """Batch and positions as one axis in between."""

    def call(self, x):
        batch, length, width = ops.shape(x)
        rows = ops.tanh(ops.reshape(x, (batch * length, width)) + 0.5)
        features = ops.tanh(ops.reshape(x, (batch, length * width)))
        return ops.reshape(rows, (batch, length, width)) + ops.reshape(features, (batch, length, width))


def test_axes_merged_with_that_of_positions():
    tokens = layers.Input((None,), dtype="int32")
    x = Rows()(Positions()(layers.Embedding(TOKENS, 12)(tokens)))
    x = x + layers.MultiHeadAttention(2, 6)(x, x, use_causal_mask=True)
    model = graphcore.Model(tokens, layers.Dense(TOKENS)(Rows()(x)))
    np.testing.assert_array_equal(generate(model, PROMPTS, 14), recomputed(model, PROMPTS, 14))


class WidthFirst(layers.Layer):
    """The order of positions and features exchanged, without a transposition."""

    def call(self, x):
        batch, length, width = ops.shape(x)
        return x + ops.transpose(ops.reshape(x, (batch, width, length)), (0, 2, 1))


class Thirds(layers.Layer):
    """A third of the features in front of the positions."""

    def call(self, x):
        batch, length, width = ops.shape(x)
        parts = ops.transpose(ops.reshape(x, (batch, 3, width // 3 * length)), (0, 2, 1))
        return x + ops.reshape(parts, (batch, length, width))


class OtherRows(layers.Layer):
    """Merged as batch and positions, taken apart as positions and batch."""

    def call(self, x):
        batch, length, width = ops.shape(x)
        rows = ops.tanh(ops.reshape(x, (batch * length, width)))
        return x + ops.transpose(ops.reshape(rows, (length, batch, width)), (1, 0, 2))


class MixedRows(layers.Layer):
    """A sum of rows in the order of batch and positions and of rows in the order of positions and batch."""

    def call(self, x):
        batch, length, width = ops.shape(x)
        rows = ops.reshape(x, (batch * length, width))
        others = ops.reshape(ops.transpose(x, (1, 0, 2)), (batch * length, width))
        return ops.reshape(rows + others, (batch, length, width))


class TestErrors:
    """The layer that looks at other positions is named."""

    @pytest.mark.parametrize(
        "layer",
        [Mean, Backwards, WidthFirst, Thirds, OtherRows, MixedRows,
         lambda name: layers.Conv1D(12, 3, padding="causal", name=name),
         lambda name: layers.LSTM(12, return_sequences=True, name=name),
         lambda name: layers.MultiHeadAttention(2, 4, name=name)],
    )  # fmt: skip
    def test_other_positions(self, layer):
        tokens = layers.Input((None,), dtype="int32")
        x = layers.Embedding(TOKENS, 12)(tokens)
        made = layer(name="culprit")
        x = made(x, x) if isinstance(made, layers.MultiHeadAttention) else made(x)
        with pytest.raises(ValueError, match=r"layer 'culprit.* cannot go on from a cache"):
            generate(graphcore.Model(tokens, layers.Dense(TOKENS)(x)), [1, 2], 5)

    def test_masks(self):
        tokens = layers.Input((None,), dtype="int32")
        x = layers.Embedding(TOKENS, 12, mask_zero=True)(tokens)
        x = layers.MultiHeadAttention(2, 4, name="culprit")(x, x, use_causal_mask=True)
        with pytest.raises(ValueError, match="culprit"):
            generate(graphcore.Model(tokens, layers.Dense(TOKENS)(x)), [1, 2], 5)

    def test_model(self):
        tokens = layers.Input((None,), dtype="int32")
        x = layers.GlobalAveragePooling1D(name="culprit")(layers.Embedding(TOKENS, 12)(tokens))
        with pytest.raises(ValueError, match="culprit"):
            generate(graphcore.Model(tokens, x), [1], 3)
        with pytest.raises(ValueError, match="one output"):
            generate(graphcore.Model(tokens, tokens), [1], 3)

    def test_arguments(self):
        model = decoder(ATTENTION["multi_head"])
        with pytest.raises(ValueError, match="max_length"):
            generate(model, PROMPTS, 5)
        with pytest.raises(ValueError, match="prompt"):
            generate(model, np.zeros((1, 0), np.int32), 5)
        with pytest.raises(ValueError, match="prompt"):
            generate(model, [0.5], 5)
        with pytest.raises(ValueError, match="sampler"):
            generate(model, PROMPTS, 9, "beam")
        with pytest.raises(ValueError, match="temperature"):
            generate(model, PROMPTS, 9, "random", temperature=0.0)
        with pytest.raises(ValueError, match="`k`"):
            generate(model, PROMPTS, 9, "top_k", k=0)
