"""Where labels come from inside a step, and what `fit` makes of arrays."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf import SobolevModel, nets, targets
from tests.support.small import DY, A, X, Y, compiled, smooth, truth


@pytest.mark.parametrize("projection", [None, "output", "input"])
def test_a_black_box_teaches_inside_the_step(projection):
    def black_box(x):
        return 100 * np.sin(x @ A.T.astype("float64")) + 1000

    kwargs = {"projection": projection, "seed": 0}
    live, box = (
        compiled(target=t, optimizer=keras.optimizers.SGD(1e-6), **kwargs)
        for t in (truth, targets.FiniteDifferences(black_box))
    )
    box.net.set_weights(live.net.get_weights())
    for adapted in (False, True):
        histories = []
        for model in (live, box):
            if adapted:
                model.adapt(X)
            histories.append(model.fit(X, shuffle=False, verbose=0).history)
        assert histories[0]["d1_loss"] == pytest.approx(histories[1]["d1_loss"], rel=1e-3)
        assert histories[0]["value_loss"] == pytest.approx(histories[1]["value_loss"], rel=1e-3)


def test_a_black_box_teaches_along_one_argument_and_in_other_units():
    def black_box(x):
        return 100 * np.sin(x[:, :1] * x[:, 1:2]) + 1000 + x[:, 2:]

    def same(x):
        return 100 * tf.sin(x[:, :1] * x[:, 1:2]) + 1000 + x[:, 2:]

    kwargs = {"projection": "input", "order": 2, "contraction": "first", "seed": 0}
    logs = []
    net = smooth(1)
    for target in (same, targets.FiniteDifferences(black_box)):
        model = SobolevModel(net, target=target, **kwargs)
        model.compile(keras.optimizers.SGD(0.0))
        labels = targets.tabulate(same, X, order=1)
        model.adapt(X, labels)
        logs.append(model.fit(X, shuffle=False, verbose=0).history)
    for name, values in logs[0].items():
        assert values == pytest.approx(logs[1][name], rel=1e-3)


def test_a_black_box_of_another_shape_is_an_error():
    wide = targets.FiniteDifferences(lambda x: np.sin(x))  # three outputs; the net has two
    with pytest.raises(ValueError, match=r"fit: target: the black box .* the net, \[B, 2\]$"):
        compiled(target=wide).fit(X, verbose=0)


def test_arrays_repeat_where_an_epoch_has_a_length_of_its_own():
    model = compiled(run_eagerly=False)
    history = model.fit(X, (Y, DY), steps_per_epoch=40, epochs=2, verbose=0).history
    assert model.optimizer.iterations == 80
    assert history["loss"][1] < history["loss"][0]
    weight = np.zeros(64, "float32")
    logs = model.fit(X, (Y, DY), sample_weight=weight, steps_per_epoch=3, verbose=0).history
    assert logs["loss"] == [0.0]


def test_what_a_net_cannot_learn_is_refused_before_it_starts():
    relu, x = compiled(nets.mlp(1, hidden=[4]), order=2), X[:, :1]
    with pytest.warns(UserWarning, match="piecewise linear"):
        relu.fit(x, (x**2, (2 * x)[:, None], np.full([64, 1, 1, 1], 2.0)), verbose=0)
    layers = [keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    norm = keras.Sequential([keras.Input([3]), *layers])
    with pytest.warns(UserWarning, match="normalizes over the batch"):
        compiled(norm).fit(X, (Y, DY), verbose=0)
    assert st.SobolevModel is SobolevModel


@pytest.mark.parametrize("projection", [None, "output"])
def test_a_black_box_may_leave_the_axis_of_one_output_out(projection):
    box = targets.FiniteDifferences(lambda x: np.sin(x).sum(1))
    model = compiled(smooth(1), target=box, projection=projection)
    model.evaluate(X, verbose=0)
    assert np.isfinite(model.fit(X, verbose=0).history["loss"][0])
    with pytest.raises(ValueError, match="XLA cannot call a black box"):
        compiled(smooth(1), target=box, jit_compile=True)


def test_no_stream_of_ours_has_a_tuner_to_wait_for():
    table = targets.Table(X, Y, DY)
    for stream in (table.dataset(8), table.dataset(len(X))):
        assert stream.options().autotune.enabled is False
