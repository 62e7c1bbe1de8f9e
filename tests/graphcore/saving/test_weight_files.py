"""Weight files: Keras's layout, round trips, and files that must not be read."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from graphcore import ops, random
from graphcore.layers import Input, Layer
from graphcore.models import Model, Sequential
from graphcore.saving.weights import WeightFileError


class Linear(Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")
        self.bias = self.add_weight((self.units,), name="bias")

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) + self.bias


class Noisy(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = random.SeedGenerator(5)

    def call(self, inputs, training=False):
        return random.dropout(inputs, 0.5, seed=self.seed_generator) if training else inputs


def model():
    return Sequential([Input((3,)), Linear(4, name="first"), Noisy(), Linear(2, name="second")], name="stack")


def stored(path):
    names = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: names.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return names


def test_the_layout_is_keras(tmp_path):
    one = model()
    path = tmp_path / "a.weights.h5"
    one.save_weights(path)
    names = stored(path)
    assert sorted(names) == [
        "layers/linear/vars/0",
        "layers/linear/vars/1",
        "layers/linear_1/vars/0",
        "layers/linear_1/vars/1",
        "layers/noisy/seed_generator/vars/0",
    ]
    np.testing.assert_array_equal(names["layers/linear/vars/0"], one.layers[0].kernel.numpy())
    with h5py.File(path, "r") as file:
        assert file["layers/linear_1/vars"].attrs["name"] == "second"
        assert "vars" in file


def test_attributes_and_containers_give_paths(tmp_path):
    class Encoder(Model):
        def __init__(self):
            super().__init__()
            self.project = Linear(4)
            self.blocks = [Linear(4), Linear(4)]
            self.heads = {"mean": Linear(1)}

        def call(self, inputs):
            x = self.project(inputs)
            for block in self.blocks:
                x = block(x)
            return self.heads["mean"](x)

    encoder = Encoder()
    encoder.build((None, 3))
    path = tmp_path / "a.weights.h5"
    encoder.save_weights(path)
    groups = {name.rsplit("/", 2)[0] for name in stored(path)}
    assert groups == {"project", "blocks/linear", "blocks/linear_1", "heads/mean"}


def test_what_was_saved_is_what_is_loaded(tmp_path):
    one, other = model(), model()
    path = tmp_path / "a.weights.h5"
    one(np.ones((1, 3)), training=True)  # moves the generator on
    one.save_weights(path)
    assert other.layers[1].seed_generator.state.numpy().tolist() == [5, 0]
    other.load_weights(path)
    for mine, theirs in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    assert other.layers[1].seed_generator.state.numpy().tolist() == [5, 1]
    assert list(tmp_path.iterdir()) == [path]  # no partial files


def test_float64_and_half_weights_keep_their_type(tmp_path):
    for dtype in ("float64", "float16"):
        layer = Sequential([Input((3,), dtype=dtype), Linear(2, dtype=dtype)])
        path = tmp_path / f"{dtype}.weights.h5"
        layer.save_weights(path)
        assert stored(path)["layers/linear/vars/0"].dtype == dtype


def test_a_mismatch_changes_nothing_and_names_what_does_not_fit(tmp_path):
    one = model()
    path = tmp_path / "a.weights.h5"
    one.save_weights(path)
    other = Sequential([Input((3,)), Linear(4, name="first"), Noisy(), Linear(5, name="second")])
    before = other.get_weights()
    with pytest.raises(WeightFileError, match=r"second.*shape \(4, 5\), but the file has \(4, 2\)"):
        other.load_weights(path)
    np.testing.assert_array_equal(other.get_weights()[0], before[0])
    with pytest.warns(UserWarning, match="1 object"):
        other.load_weights(path, skip_mismatch=True)
    np.testing.assert_array_equal(other.get_weights()[0], one.get_weights()[0])
    np.testing.assert_array_equal(other.get_weights()[2], before[2])
    with pytest.raises(WeightFileError, match=r"expected 2 variables .*but the file has 0"):
        Sequential([Input((3,)), *(Linear(3) for _ in range(3))]).load_weights(path)


def test_an_unbuilt_model_says_so(tmp_path):
    path = tmp_path / "a.weights.h5"
    model().save_weights(path)
    with pytest.raises(WeightFileError, match="not built"):
        Sequential([Linear(4), Noisy(), Linear(2)]).load_weights(path)


def test_paths(tmp_path):
    one = model()
    with pytest.raises(ValueError, match=r"must end in `\.weights\.h5`"):
        one.save_weights(tmp_path / "a.h5")
    with pytest.raises(FileNotFoundError, match="no weight file"):
        one.load_weights(tmp_path / "a.weights.h5")
    one.save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        one.save_weights(tmp_path / "a.weights.h5", overwrite=False)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.weights.h5"
    model().save_weights(path)
    return path


def replace(path, make):
    """Put something else in the place of the first kernel."""
    with h5py.File(path, "a") as file:
        group = file["layers/linear/vars"]
        del group["0"]
        make(file, group)


def test_links_to_other_places_and_files_are_refused(good, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.ones((3, 4), np.float32)

    def soft(file, group):
        group["0"] = h5py.SoftLink("/layers/linear_1/vars/0")

    def external_link(file, group):
        group["0"] = h5py.ExternalLink(str(secret), "data")

    def hard(file, group):
        group["0"] = file["layers/linear_1/vars/0"]

    for make, message in ((soft, "SoftLink"), (external_link, "ExternalLink"), (hard, "second name")):
        copy = tmp_path / f"{make.__name__}.weights.h5"
        copy.write_bytes(good.read_bytes())
        replace(copy, make)
        with pytest.raises(WeightFileError, match=message):
            model().load_weights(copy)


def test_numbers_that_lie_in_other_files_are_refused(good, tmp_path):
    raw = tmp_path / "raw.bin"
    raw.write_bytes(np.ones((3, 4), np.float32).tobytes())
    source = tmp_path / "source.h5"
    with h5py.File(source, "w") as file:
        file["data"] = np.ones((3, 4), np.float32)

    def external(file, group):
        group.create_dataset("0", (3, 4), "f4", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])

    def virtual(file, group):
        layout = h5py.VirtualLayout((3, 4), "f4")
        layout[:] = h5py.VirtualSource(str(source), "data", (3, 4))
        group.create_virtual_dataset("0", layout)

    for make in (external, virtual):
        copy = tmp_path / f"{make.__name__}.weights.h5"
        copy.write_bytes(good.read_bytes())
        replace(copy, make)
        with pytest.raises(WeightFileError, match="another file"):
            model().load_weights(copy)


def test_a_file_that_declares_more_than_it_holds_is_refused_before_memory_is_taken(good):
    def bomb(file, group):
        group.create_dataset("0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024), compression="gzip")

    replace(good, bomb)
    with pytest.raises(WeightFileError, match="declares 4398046511104 bytes, but the file holds 0"):
        model().load_weights(good)


def test_what_is_no_number_is_refused(good):
    def text(file, group):
        group["0"] = "kernel"

    replace(good, text)
    with pytest.raises(WeightFileError, match="must hold numbers"):
        model().load_weights(good)
