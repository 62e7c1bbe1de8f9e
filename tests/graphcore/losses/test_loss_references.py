"""Every loss against Keras's numbers: values and gradients."""

import numpy as np
import pytest
from reference_arrays import load

from graphcore import losses

REFERENCES = load("losses")


@pytest.mark.parametrize("name", sorted(REFERENCES.cases))
def test_value(name):
    case = REFERENCES.cases[name]
    loss = getattr(losses, case["class"])(**case["kwargs"])
    weight = None if case["sample_weight"] is None else REFERENCES[case["sample_weight"]]
    value = loss(REFERENCES[case["y_true"]], REFERENCES[case["y_pred"]], weight)
    np.testing.assert_allclose(value, REFERENCES[case["value"]], rtol=1e-5, atol=1e-6)
    assert np.asarray(value).dtype == np.float32


@pytest.mark.parametrize("name", sorted(REFERENCES.cases))
def test_configuration_makes_an_equal_loss(name):
    case = REFERENCES.cases[name]
    loss = getattr(losses, case["class"])(**case["kwargs"])
    again = losses.deserialize(losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
