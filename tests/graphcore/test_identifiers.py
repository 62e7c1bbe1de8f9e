"""Names, configurations and classes: one rule for all kinds."""

import json

import pytest

from graphcore import activations, constraints, identifiers, initializers, losses, metrics, optimizers, regularizers

MODULES = [activations, constraints, initializers, losses, metrics, optimizers, regularizers]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.split(".")[-1])
def test_every_name_resolves_and_survives_json(module):
    for name, entry in module._registry.table.items():
        assert module._registry.lookup(name) is entry
        try:
            thing = module.get(name)
        except TypeError:
            continue  # needs arguments, such as IoU(num_classes)
        again = module.get(json.loads(json.dumps(module.serialize(thing))))
        assert type(again) is type(thing)
        if hasattr(thing, "get_config"):
            assert again.get_config() == thing.get_config()
        else:
            assert again is thing


@pytest.mark.parametrize(
    ("module", "wrong", "right"),
    [
        (losses, "categorical_crossentrpy", "'categorical_crossentropy'"),
        (metrics, "binary_acuracy", "binary_accuracy|BinaryAccuracy"),
        (optimizers, "adm", "Adam"),
        (activations, "relo", "'relu'"),
        (regularizers, "L3", "Unknown regularizer"),
        (constraints, "maxnorm", "max_norm|MaxNorm"),
    ],
)
def test_an_unknown_name_lists_close_matches(module, wrong, right):
    with pytest.raises(ValueError, match=right) as caught:
        module.get(wrong)
    assert repr(wrong) in str(caught.value)


def test_what_is_no_identifier_is_refused():
    with pytest.raises(ValueError, match="Could not interpret loss identifier: 3"):
        losses.get(3)
    with pytest.raises(ValueError, match="optimizer"):
        optimizers.get(len)
    with pytest.raises(ValueError, match="'class_name'"):
        metrics.get({"name": "x"})


def test_optimizers_in_any_case():
    assert isinstance(optimizers.get("RMSPROP"), optimizers.RMSprop)
    assert isinstance(optimizers.get({"class_name": "adamw", "config": {}}), optimizers.AdamW)


def test_registered_functions_and_classes_are_found(monkeypatch):
    class Half(losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred * 0.5

    def double(x):
        return 2 * x

    monkeypatch.setitem(identifiers.custom_objects, "mine>Half", Half)
    monkeypatch.setitem(identifiers.custom_objects, "mine>double", double)
    config = losses.serialize(Half(name="h"))
    assert config["registered_name"] == "mine>Half"
    assert isinstance(losses.deserialize(config), Half)
    assert activations.get(activations.serialize(double)) is double


def test_custom_objects_of_one_call():
    class Own(optimizers.SGD):
        pass

    config = optimizers.serialize(Own(0.5))
    with pytest.raises(ValueError, match="Unknown optimizer 'Own'"):
        optimizers.deserialize(config)
    found = optimizers.deserialize(config, custom_objects={"Own": Own})
    assert isinstance(found, Own)
    assert found.get_config()["learning_rate"] == 0.5


def test_wrapped_functions_are_found_by_module_and_name():
    wrapped = losses.LossFunctionWrapper(losses.mean_squared_error, name="m")
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(wrapped))))
    assert again.fn is losses.mean_squared_error
    metric = metrics.MeanMetricWrapper(metrics.binary_accuracy, name="b", threshold=0.3)
    again = metrics.deserialize(json.loads(json.dumps(metrics.serialize(metric))))
    assert again._fn is metrics.binary_accuracy
    assert again.get_config() == metric.get_config()
