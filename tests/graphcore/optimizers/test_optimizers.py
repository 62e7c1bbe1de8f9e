"""What the stored steps do not cover: errors, learning rates, weight decay, functional use."""

import numpy as np
import pytest

from graphcore import constraints, naming, optimizers
from graphcore.optimizers import schedules
from graphcore.variable import Variable

GRADIENT = np.array([1.0, -2.0], np.float32)


def weight(name="kernel", **options):
    return Variable(np.array([1.0, 1.0], np.float32), name=name, **options)


def test_order_and_names_of_variables():
    optimizer = optimizers.Adam(name="opt")
    optimizer.build([weight("a"), weight("b")])
    assert [variable.path for variable in optimizer.variables] == [
        "opt/iteration",
        "opt/learning_rate",
        "opt/a_momentum",
        "opt/a_velocity",
        "opt/b_momentum",
        "opt/b_velocity",
    ]
    assert optimizer.variables[0].dtype == "int32"


def test_optimizers_are_named_and_numbered_like_layers():
    naming.reset_names()
    made = [optimizers.SGD(), optimizers.RMSprop(), optimizers.AdamW(), optimizers.SGD(), optimizers.SGD(name="mine")]
    assert [optimizer.name for optimizer in made] == ["sgd", "rm_sprop", "adam_w", "sgd_1", "mine"]
    assert made[3].variables[0].path == "sgd_1/iteration"


def test_the_configuration_has_the_order_of_keras():
    assert list(optimizers.SGD().get_config())[:6] == [
        "name",
        "learning_rate",
        "weight_decay",
        "clipnorm",
        "global_clipnorm",
        "clipvalue",
    ]


def test_setting_the_learning_rate():
    optimizer = optimizers.SGD(0.1)
    variable = weight()
    optimizer.learning_rate = 0.5
    optimizer.apply([GRADIENT], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.5, 2.0])
    optimizer.learning_rate = schedules.ExponentialDecay(0.1, 10, 0.5)
    assert len(optimizer.variables) == 1
    with pytest.raises(TypeError, match="schedule"):
        optimizer.learning_rate = 0.5


def test_schedules_see_the_iteration_before_the_step():
    schedule = schedules.PiecewiseConstantDecay([0], [1.0, 0.1])
    optimizer = optimizers.SGD(schedule)
    variable = weight()
    optimizer.apply([GRADIENT], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.0, 3.0])
    optimizer.apply([GRADIENT], [variable])
    np.testing.assert_allclose(variable.numpy(), [-0.1, 3.2], rtol=1e-6)
    config = optimizer.get_config()
    assert optimizers.SGD.from_config(config).get_config() == config


def test_missing_gradients_warn_and_none_at_all_is_an_error():
    optimizer = optimizers.SGD(0.1)
    one, other = weight("one"), weight("other")
    with pytest.warns(UserWarning, match="other"):
        optimizer.apply([GRADIENT, None], [one, other])
    np.testing.assert_allclose(one.numpy(), [0.9, 1.2])
    np.testing.assert_array_equal(other.numpy(), [1.0, 1.0])
    with pytest.raises(ValueError, match="No gradient"):
        optimizer.apply([None, None], [one, other])


def test_constraints_follow_the_step():
    variable = weight(constraint=constraints.NonNeg())
    optimizers.SGD(2.0).apply([GRADIENT], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.0, 5.0])


def test_a_rate_for_each_variable():
    """What the variables of a step share is known by the learning rate, not by where it lay."""

    class Scaled(optimizers.Adam):
        def update_step(self, gradient, variable, learning_rate):
            factor = {"a": 1.0, "b": 10.0, "c": 3.0}[variable.name]
            super().update_step(gradient, variable, learning_rate * factor)

    variables = [weight("a"), weight("b"), weight("c")]
    before = [variable.numpy().copy() for variable in variables]
    Scaled(0.001).apply([np.ones_like(array) for array in before], variables)
    steps = [float((old - variable.numpy()).max()) for old, variable in zip(before, variables, strict=True)]
    np.testing.assert_allclose(steps, [0.001, 0.01, 0.003], rtol=1e-3)


def test_excluded_variables_do_not_decay():
    decaying, listed, named = weight("kernel"), weight("gamma"), weight("bias")
    optimizer = optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[listed], var_names=["bia"])
    zero = np.zeros(2, np.float32)
    optimizer.apply([zero] * 3, [decaying, listed, named])
    np.testing.assert_allclose(decaying.numpy(), 0.95)
    np.testing.assert_array_equal(listed.numpy(), 1.0)
    np.testing.assert_array_equal(named.numpy(), 1.0)
    with pytest.raises(ValueError, match="before"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_a_gradient_that_is_not_finite_shows():
    optimizer = optimizers.SGD(0.1, global_clipnorm=1.0)
    one, other = weight("one"), weight("other")
    optimizer.apply([np.array([np.inf, 0], np.float32), GRADIENT], [one, other])
    assert np.isnan(one.numpy()).all()
    assert np.isnan(other.numpy()).all()


def test_loss_scale_is_divided_out():
    optimizer = optimizers.SGD(0.1, loss_scale_factor=8.0)
    variable = weight()
    optimizer.apply([GRADIENT * optimizer.scale_loss(1.0)], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.9, 1.2])


def test_stateless_application_changes_nothing():
    optimizer, variable = optimizers.SGD(0.1, momentum=0.9), weight()
    optimizer.build([variable])
    state = [value.numpy() for value in optimizer.variables]
    weights, after = optimizer.stateless_apply(state, [GRADIENT], [np.array([3.0, 3.0], np.float32)])
    np.testing.assert_allclose(weights[0], [2.9, 3.2])
    assert after[0] == 1
    np.testing.assert_array_equal(variable.numpy(), 1.0)
    assert int(optimizer.iterations) == 0


def test_state_is_saved_and_loaded():
    optimizer, variable = optimizers.Adam(0.1), weight()
    optimizer.apply([GRADIENT], [variable])
    store = {}
    optimizer.save_own_variables(store)
    again = optimizers.Adam()
    with pytest.warns(UserWarning, match="not loaded"):
        again.load_own_variables(store)
    again.build([weight()])
    again.load_own_variables(store)
    for one, other in zip(optimizer.variables, again.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_own_optimizers():
    class Signs(optimizers.Optimizer):
        def __init__(self, learning_rate=0.5, **kwargs):
            super().__init__(learning_rate, **kwargs)

        def build(self, variables):
            if self.built:
                return
            super().build(variables)
            self.counts = self.add_optimizer_variables(variables, "count", "ones")

        def update_step(self, gradient, variable, learning_rate):
            count = self.counts[self._get_variable_index(variable)]
            self.assign_add(count, 1.0)
            self.assign_sub(variable, learning_rate * np.sign(gradient))

    optimizer, variable = Signs(), weight()
    optimizer.apply_gradients([(GRADIENT, variable)])
    np.testing.assert_allclose(variable.numpy(), [0.5, 1.5])
    np.testing.assert_allclose(optimizer.counts[0].numpy(), 2.0)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: optimizers.SGD("0.1"), "float"),
        (lambda: optimizers.SGD(lr=0.1), "learning_rate"),
        (lambda: optimizers.Adam(weight_decy=0.1), "'weight_decay'"),
        (lambda: optimizers.SGD(momentum=1.5), "momentum"),
        (lambda: optimizers.AdamW(weight_decay=None), "weight_decay"),
        (lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0), "Only one"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), "gradient_accumulation_steps"),
        (lambda: optimizers.SGD(use_ema=True, ema_momentum=2.0), "ema_momentum"),
        (lambda: optimizers.SGD(use_ema=True, ema_overwrite_frequency=0.5), "ema_overwrite_frequency"),
        (lambda: optimizers.Lion(beta_1=0.0), "beta_1"),
        (lambda: optimizers.Ftrl(learning_rate_power=1.0), "learning_rate_power"),
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps"),
        (lambda: schedules.PiecewiseConstantDecay([1], [0.1]), "one more value"),
        (lambda: optimizers.SGD().apply([GRADIENT]), "build"),
        (lambda: optimizers.SGD().apply([GRADIENT], [weight(), weight()]), "one gradient for each"),
    ],
)
def test_wrong_arguments(action, message):
    with pytest.raises(ValueError, match=message):
        action()


def test_unknown_variables_are_named():
    optimizer = optimizers.SGD(0.1)
    optimizer.apply([GRADIENT], [weight("known")])
    with pytest.raises(ValueError, match="'stranger'"):
        optimizer.apply([GRADIENT], [weight("stranger")])


def test_a_forgotten_constructor_is_named():
    class Bad(optimizers.Optimizer):
        def __init__(self):
            self.rate = 0.1

    with pytest.raises(RuntimeError, match=r"Bad.*super\(\).__init__"):
        Bad()


def test_adafactor_keeps_as_many_variables_as_keras():
    optimizer = optimizers.Adafactor()
    optimizer.build([Variable(np.ones((2, 3), np.float32), name="kernel"), weight("bias")])
    shapes = [tuple(variable.shape) for variable in optimizer.variables]
    assert shapes == [(), (), (2,), (3,), (2, 3), (), (), (2,)]
