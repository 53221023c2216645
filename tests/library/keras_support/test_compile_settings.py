"""compile looks at names and numbers itself, where Keras waits for the first batch."""

import keras
import numpy as np
import pytest

from sobolev_tf import DecoupledModel, PolicyDistiller, SobolevModel, nets, split
from sobolev_tf.synthetic import dense_critic

WRONG = [
    ({"metrics": ["maee"]}, "metrics has 'maee', which is no metric of Keras: did you mean 'mae'?"),
    ({"metrics": [["mean_square_error"]]}, "did you mean 'mean_squared_error'?"),
    ({"metrics": [3]}, "metrics has 3, expected a Keras metric"),
    ({"metrics": [None]}, "metrics has None"),
    ({"metrics": "mse"}, "metrics is a list, as in [...], got 'mse'"),
    ({"optimizer": "adamm"}, "optimizer is a Keras optimizer or its name, got 'adamm'"),
    ({"optimizer": None}, "optimizer is a Keras optimizer or its name, got None"),
    ({"optimizer": {"name": "adam"}}, "optimizer is a Keras optimizer or its name"),
    ({"loss": "msee"}, "loss is a Keras loss, its name, or a function (y_true, y_pred), got"),
    ({"steps_per_execution": 0}, "steps_per_execution is a whole number of at least 1, got 0"),
    ({"steps_per_execution": "two"}, "steps_per_execution is a whole number"),
    ({"jit_compile": "yes"}, "jit_compile is True or False, got 'yes'"),
    ({"run_eagerly": 3}, "run_eagerly is True or False, got 3"),
]


def sobolev():
    return SobolevModel(nets.mlp(2, hidden=[4], activation="tanh"))


def distiller():
    return PolicyDistiller(nets.mlp(2, 3, hidden=[4], activation="tanh"), alpha=0)


def decoupled():
    inputs = keras.Input([2])
    hidden = keras.layers.Dense(8, "relu", name="h1")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    return DecoupledModel(split(net, at=["h1"]), critic=dense_critic)


@pytest.mark.parametrize("make", [sobolev, distiller, decoupled])
@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_settings_are_refused_by_compile(make, options, message):
    with pytest.raises(ValueError) as error:
        make().compile(**({"optimizer": "sgd", "loss": "mse"} | options))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_weighted_metrics_and_the_critics_optimizer_are_looked_at():
    with pytest.raises(ValueError, match="weighted_metrics has 'mee'"):
        sobolev().compile("sgd", weighted_metrics=["mee"])
    with pytest.raises(ValueError, match="critic_optimizer is a Keras optimizer or its name"):
        decoupled().compile("sgd", "adamm", "mse")


@pytest.mark.parametrize(
    "metrics",
    [
        None,
        [],
        ["mae", "accuracy", "acc", "ce", "MeanSquaredError", keras.metrics.MeanSquaredError()],
        [keras.metrics.MeanSquaredError, lambda y, predicted: np.float32(0)],
        {"value": ["mae"]},
        {"value": "mae"},
    ],
)
def test_metrics_of_keras_pass(metrics):
    sobolev().compile("sgd", metrics=metrics, weighted_metrics=None, run_eagerly=None)
    sobolev().compile(steps_per_execution=np.int64(2), jit_compile="auto")
