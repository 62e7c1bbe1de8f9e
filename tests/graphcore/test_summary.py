"""The summary table, letter by letter as Keras prints it."""

from __future__ import annotations

import pytest

from graphcore import ops
from graphcore.layers import Input, Layer
from graphcore.models import Model, Sequential
from graphcore.naming import reset_names
from graphcore.summary import readable_size


class Dense(Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + self.bias


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    reset_names()


def text_of(model, **arguments):
    texts = []
    model.summary(print_fn=texts.append, **arguments)
    assert len(texts) == 1
    return texts[0]


def test_a_sequential_model():
    model = Sequential([Input((100,)), Dense(64, name="hidden"), Dense(10, name="logits")], name="mlp")
    model.layers[1].trainable = False
    assert text_of(model) == (
        'Model: "mlp"\n'
        "┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓\n"
        "┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃\n"
        "┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩\n"
        "│ hidden (Dense)                  │ (None, 64)             │         6,464 │\n"
        "├─────────────────────────────────┼────────────────────────┼───────────────┤\n"
        "│ logits (Dense)                  │ (None, 10)             │           650 │\n"
        "└─────────────────────────────────┴────────────────────────┴───────────────┘\n"
        " Total params: 7,114 (27.79 KB)\n"
        " Trainable params: 6,464 (25.25 KB)\n"
        " Non-trainable params: 650 (2.54 KB)\n"
    )


def test_unbuilt_layers():
    model = Sequential([Dense(3)], name="later")
    assert "│ dense (Dense)                   │ ?                      │   0 (unbuilt) │" in text_of(model)


def test_a_graph_with_connections(golden, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(5, name="shared")
    model = Model([a, b], Dense(2, name="out")(shared(a) + shared(b)), name="joined")
    golden("summary_connections", text_of(model))


def test_nested_models_and_the_trainable_column(golden, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    inner = Sequential([Input((4,)), Dense(3, name="one"), Dense(2, name="two")], name="inner")
    inner.layers[0].trainable = False
    model = Sequential([Input((4,)), inner, Dense(1, name="last")], name="outer")
    golden("summary_nested", text_of(model, expand_nested=True, show_trainable=True))


def test_a_model_with_a_call_of_its_own():
    class Own(Model):
        def __init__(self):
            super().__init__(name="own")
            self.first, self.second = Dense(3, name="first"), Dense(1, name="second")

        def call(self, inputs):
            return self.second(self.first(inputs))

    model = Own()
    model.build((None, 4))
    text = text_of(model)
    assert "│ first (Dense)                   │ (None, 3)              │            15 │" in text
    assert "│ second (Dense)                  │ (None, 1)              │             4 │" in text


def test_layer_range_and_errors():
    model = Sequential([Input((4,)), *(Dense(4, name=f"layer_{i}") for i in range(5))])
    text = text_of(model, layer_range=["layer_1", "layer_3"])
    assert [f"layer_{i} " in text for i in range(5)] == [False, True, True, True, False]
    with pytest.raises(ValueError, match="do not match"):
        text_of(model, layer_range=["nothing", "layer_1"])
    with pytest.raises(ValueError, match="two strings"):
        text_of(model, layer_range=["layer_1"])
    with pytest.raises(ValueError, match="Insufficient console width"):
        text_of(model, line_length=9)


def test_positions_beyond_the_columns_are_left_out_and_missing_ones_refused():
    model = Sequential([Input((2,)), Dense(3, name="d")])
    texts = []
    for positions in ([0.4, 0.7, 1.0], [0.4, 0.7, 1.0, 1.2]):
        model.summary(positions=positions, print_fn=texts.append)
    assert texts[0] == texts[1]
    with pytest.raises(ValueError, match="one end for each of the columns"):
        model.summary(positions=[0.4, 1.0])


def test_summary_prints_without_a_function(capsys):
    Sequential([Input((4,)), Dense(1)], name="printed").summary()
    assert 'Model: "printed"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.00 B"), (1023, "1023.00 B"), (1024, "1.00 KB"), (668, "668.00 B"), (5 * 2**30, "5.00 GB")]
)
def test_sizes(size, text):
    assert readable_size(size) == text
