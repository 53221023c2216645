"""What a term's loss is averaged over where labels are missing: the batch, or what is there."""

import keras
import numpy as np
import pytest

from sobolev_tf import SobolevModel
from tests.support.cases import slow
from tests.support.small import DY, X, Y, compiled

HALF = np.where(np.arange(64)[:, None, None] % 2 == 0, DY, np.nan)
INPUTS = np.where(np.arange(3) < 2, DY, np.nan)  # nobody knows the slope in the third input


def evaluate(labels, **kwargs):
    keras.utils.set_random_seed(0)
    model = compiled(missing="nan", **kwargs)
    return model, model.evaluate(X, labels, batch_size=64, verbose=0, return_dict=True)


def test_by_default_a_term_shrinks_by_its_share():
    model, logs = evaluate((Y, HALF))
    error = (model.predict_jet(X).derivatives[0] - DY)[::2]
    assert logs["d1_loss"] == pytest.approx(np.sum(error**2) / 64, rel=1e-5)


def test_over_present_rows_it_does_not():
    model, logs = evaluate((Y, HALF), mean_over="present")
    error = (model.predict_jet(X).derivatives[0] - DY)[::2]
    assert logs["d1_loss"] == pytest.approx(np.sum(error**2) / 32, rel=1e-5)
    assert logs["loss"] == pytest.approx(logs["value_loss"] + logs["d1_loss"], rel=1e-5)


def test_over_present_entries_neither():
    model, logs = evaluate((Y, INPUTS), mean_over="present")
    error = (model.predict_jet(X).derivatives[0] - DY)[:, :, :2]
    assert logs["d1_loss"] == pytest.approx(np.sum(error**2) / 64 * 3 / 2, rel=1e-5)


def test_without_any_label_a_term_is_nan_and_adds_nothing_to_the_loss():
    """A monitor would take 0 for perfect; training goes on."""
    labels = Y, np.full_like(DY, np.nan)
    settings = {"jet_metrics": ["rmse", "r2", "cosine"], "metrics": ["mae"]}
    model, logs = evaluate(labels, mean_over="present", **settings)
    for name in ("d1_loss", "d1_rmse", "d1_r2", "d1_cosine"):
        assert np.isnan(logs[name])
    assert logs["loss"] == pytest.approx(logs["value_loss"], rel=1e-6)
    assert np.isnan(model.evaluate(X, (0 * Y + np.nan, DY), verbose=0, return_dict=True)["mae"])
    history = model.fit(X, labels, epochs=2, verbose=0).history
    assert np.isnan(history["d1_loss"]).all()
    assert history["loss"] == pytest.approx(history["value_loss"], rel=1e-6)


@pytest.mark.parametrize("eager", [True, *slow(False)])
def test_an_evaluation_does_not_depend_on_the_size_of_its_batches(eager):
    """The net has slopes [1, 1] and an L2 of 2; rows 0 and 2 of 4 have labels, one in half."""
    penalty = keras.regularizers.L2(1.0)
    dense = keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer=penalty)
    x, y = np.zeros([4, 2], "f"), np.zeros([4, 1], "f")
    dy = np.full([4, 1, 2], np.nan, "f")
    dy[0], dy[2, 0, 0] = 4, 3  # squared errors 9, 9 and 4, in 3 of 8 entries
    weights = np.array([1, 1, 3, 1], "f")
    for batch_size in (1, 2, 3, 4):
        model = SobolevModel(keras.Sequential([keras.Input([2]), dense]))
        settings = {"missing": "nan", "mean_over": "present", "loss_weights": [1, 0.5]}
        model.compile(keras.optimizers.SGD(0.0), run_eagerly=eager, **settings)
        logs = model.evaluate(x, (y, dy), batch_size=batch_size, verbose=0, return_dict=True)
        by_hand = (9 + 9 + 4) / (4 * 3 / 8)
        assert logs["d1_loss"] == pytest.approx(by_hand, rel=1e-5)
        assert logs["loss"] == pytest.approx(0.5 * by_hand + 2, rel=1e-5)
        history = model.fit(
            x, (y, dy), batch_size=batch_size, sample_weight=weights, verbose=0
        ).history
        assert history["d1_loss"][0] == pytest.approx((9 + 9 + 3 * 4) / (4 * 3 / 8), rel=1e-5)


def test_a_drawn_share_of_the_rows_has_no_bias():
    """Of 2 rows one is drawn, and one has a label, of error 8: 0 and 16 in turn, not 0 and 8."""
    dense = keras.layers.Dense(1, kernel_initializer="ones")
    model = SobolevModel(keras.Sequential([keras.Input([2]), dense]))
    settings = {"missing": "nan", "mean_over": "present", "derivative_share": 0.5}
    model.compile(keras.optimizers.SGD(0.0), steps_per_execution=50, **settings)
    dy = np.array([[[3.0, 3.0]], [[np.nan, np.nan]]], "f")
    data = np.zeros([2, 2], "f"), (np.zeros([2, 1], "f"), dy)
    history = model.fit(*data, batch_size=2, steps_per_epoch=400, verbose=0).history
    assert history["d1_loss"][0] == pytest.approx(8, abs=4 * 8 / np.sqrt(400))
    assert history["loss"] == pytest.approx(history["d1_loss"], rel=1e-5)


def test_with_all_labels_nothing_changes():
    _, plain = evaluate((Y, DY))
    _, present = evaluate((Y, DY), mean_over="present")
    assert plain == present


def test_weights_of_examples_keep_their_meaning():
    weights = np.linspace(0, 2, 64).astype("float32")
    keras.utils.set_random_seed(0)
    model = compiled(missing="nan", mean_over="present")
    logs = model.evaluate(
        X, (Y, HALF), batch_size=64, sample_weight=weights, verbose=0, return_dict=True
    )
    error = np.sum((model.predict_jet(X).derivatives[0] - DY) ** 2, (1, 2))
    assert logs["d1_loss"] == pytest.approx(np.sum((weights * error)[::2]) / 32, rel=1e-5)


def test_full_batch_solvers_see_the_same_loss():
    model, logs = evaluate((Y, HALF), mean_over="present")
    assert float(model.problem(X, (Y, HALF)).loss()) == pytest.approx(logs["loss"], rel=1e-5)


def test_it_is_saved(tmp_path):
    model = compiled(missing="nan", mean_over="present")
    model.fit(X, (Y, HALF), batch_size=64, verbose=0)
    logs = model.evaluate(X, (Y, HALF), batch_size=64, verbose=0, return_dict=True)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.evaluate(
        X, (Y, HALF), batch_size=64, verbose=0, return_dict=True
    ) == pytest.approx(logs, rel=1e-5)


def test_wrong_settings_are_named():
    with pytest.raises(
        ValueError, match=r'^compile: mean_over is "batch" or "present", got \'rows\''
    ):
        compiled(missing="nan", mean_over="rows")
    with pytest.raises(ValueError, match="needs full derivatives"):
        compiled(missing="nan", mean_over="present", projection="input")


@pytest.mark.parametrize("eager", [True, False])
def test_padded_steps_of_a_mask_are_left_out_as_nan_as_keras_leaves_them_out(eager):
    layers = [keras.layers.Masking(0.0), keras.layers.SimpleRNN(3, return_sequences=True)]
    net = keras.Sequential([keras.Input([6, 1]), *layers, keras.layers.Dense(1)])
    x = np.random.default_rng(0).uniform(1, 2, [8, 6, 1]).astype("float32")
    x[:, 3:] = 0
    y = np.where(x == 0, 100, x)
    net.compile("sgd", "mse", run_eagerly=eager)
    model = SobolevModel(net, order=0)
    model.compile("sgd", loss="mse", run_eagerly=eager)
    for method in ("fit", "evaluate"):
        text = rf"^SobolevModel\.{method}: the net's output has a mask .*NaN.*missing="
        with pytest.raises(ValueError, match=text) as e:
            getattr(model, method)(x, y, verbose=0)
        assert "\n" not in str(e.value)
    model.compile("sgd", loss="mse", missing="nan", mean_over="present", run_eagerly=eager)
    masked, _ = model.evaluate(x, np.where(x == 0, np.nan, y), verbose=0)
    assert masked == pytest.approx(net.evaluate(x, y, verbose=0), rel=1e-5)
