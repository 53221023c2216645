"""Keras's callbacks in full-batch fits: an iteration is an epoch, with a beginning and an end."""

import keras
import numpy as np
import pytest

from sobolev_tf import SobolevModel, fit_lbfgs, fit_least_squares, nets

X = np.linspace(-1, 1, 8)[:, None]
LABELS = np.sin(2 * X), 2 * np.cos(2 * X)
FITS = [fit_lbfgs, fit_least_squares]


def model():
    made = SobolevModel(nets.mlp(1, hidden=[6], activation="tanh", dtype="float64"))
    made.compile("adam", run_eagerly=True)
    return made


class Watch(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.calls, self.losses = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("begin", epoch, self.params["epochs"]))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("end", epoch, self.params["epochs"]))
        # What a callback that saves the model would save:
        self.losses.append((logs["loss"], self.model.evaluate(X, LABELS, verbose=0)[0]))


@pytest.mark.parametrize("fit", FITS)
def test_an_iteration_begins_ends_and_leaves_its_weights(fit):
    watch = Watch()
    fit(model(), X, LABELS, iterations=3, callbacks=watch)
    assert watch.calls == [(call, i, 3) for i in range(3) for call in ("begin", "end")]
    np.testing.assert_allclose(*zip(*watch.losses, strict=True), rtol=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_stock_callbacks_work(fit, tmp_path):
    best_path = tmp_path / "best.weights.h5"
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.ModelCheckpoint(
            best_path,
            monitor="loss",
            save_best_only=True,
            save_weights_only=True,
        ),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.ProgbarLogger(),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    ]
    made = model()
    history = fit(made, X, LABELS, iterations=3, callbacks=callbacks).history["loss"]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    best = model()
    best.optimizer.build(best.trainable_variables)
    best.load_weights(best_path)
    loss = best.evaluate(X, LABELS, verbose=0)[0]
    np.testing.assert_allclose(loss, min(history), rtol=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_early_stopping_restores_the_best_weights(fit):
    """The best of an iteration that a callback calls the best: here the second."""

    class Best(keras.callbacks.EarlyStopping):
        def get_monitor_value(self, logs):
            return abs(self.count - 1)

        def on_epoch_begin(self, epoch, logs=None):
            self.count = epoch

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.second = self.model.get_weights()
            super().on_epoch_end(epoch, logs)

    made, best = model(), Best("loss", patience=2, mode="min", restore_best_weights=True)
    history = fit(made, X, LABELS, iterations=9, callbacks=[best])
    assert len(history.epoch) == 4
    for weight, expected in zip(made.get_weights(), best.second, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("fit", FITS)
def test_what_cannot_work_is_one_line(fit):
    for callback in (
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
    ):
        with pytest.warns(UserWarning, match=f"{fit.__name__} has no learning rate"):
            fit(model(), X, LABELS, iterations=1, callbacks=callback)
    for wrong, words in [
        ({"callbacks": 3}, "callbacks are Keras's Callback objects, got 3"),
        ({"iterations": 1.5}, "iteration"),
        ({"iterations": "a"}, "iteration"),
        ({"tolerance": "a"}, "tolerance is a finite number"),
    ]:
        with pytest.raises(ValueError, match=f"{fit.__name__}: .*{words}"):
            fit(model(), X, LABELS, **{"iterations": 1} | wrong)
    with pytest.raises(ValueError, match=f"{fit.__name__}: model is a SobolevModel"):
        fit(nets.mlp(1), X, LABELS)


def test_settings_of_one_solver():
    for damping in ("a", 0, None, np.nan):
        with pytest.raises(ValueError, match="fit_least_squares: damping is a finite number"):
            fit_least_squares(model(), X, LABELS, damping=damping)
    with pytest.raises(ValueError, match="fit_lbfgs: corrections is a whole number"):
        fit_lbfgs(model(), X, LABELS, corrections=0.5)
