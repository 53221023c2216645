"""`fit` of arrays on the device ends where Keras's own loop over them ends."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.keras_support import batching, multi_step
from sobolev_tf.keras_support.array_batches import ArrayBatches, Pace, on_device
from tests.support.cases import slow

RNG = np.random.default_rng(0)
ROWS = 11  # in batches of 4: the last one has 3
X = RNG.normal(size=[ROWS, 2])
LABELS = np.sin(X).sum(1, keepdims=True), np.cos(X)[:, None]
WEIGHTS = RNG.uniform(0.5, 2, ROWS)


def float64_model(**options):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(n, a, dtype="float64") for n, a in ((5, "tanh"), (1, None))]
    net = keras.Sequential([keras.Input([2], dtype="float64"), *layers])
    model = st.SobolevModel(net)
    model.compile(keras.optimizers.Adam(0.01), metrics=["mae"], **options)
    return model


class Calls(keras.callbacks.Callback):
    """Notes which batches begin, and how many steps were taken where they end."""

    def __init__(self):
        super().__init__()
        self.batches, self.steps = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.batches.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(int(self.model.optimizer.iterations))


def fitted(settings, **passed):
    """A model and its history, of 3 epochs with a rate that falls between them."""
    model = float64_model(**settings)
    fall = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    passed = {"shuffle": False, "batch_size": 4, "epochs": 3, "verbose": 0} | passed
    passed["callbacks"] = [fall, *passed.get("callbacks", [])]
    return model, model.fit(X, LABELS, **passed).history


@pytest.mark.parametrize("settings", [{}, *slow({"steps_per_execution": 2})])
def test_weights_and_history_are_those_of_kerass_loop(settings):
    """Sample weights, validation data and its weights, a partial last batch, a changing rate."""
    passed = {"sample_weight": WEIGHTS, "validation_data": (X[:7], [a[:7] for a in LABELS])}
    ours, history = fitted(settings, **passed)
    kerass, expected = fitted({"steps_per_execution": 1}, **passed)
    assert int(ours.optimizer.iterations) == int(kerass.optimizer.iterations) == 9
    for a, b in zip(ours.get_weights(), kerass.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert list(history) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-6, err_msg=name)


def test_validation_leaves_the_order_of_training_as_it_is():
    plain, validated = (
        fitted({}, shuffle=True, validation_data=data)[0] for data in (None, (X, LABELS))
    )
    for a, b in zip(plain.get_weights(), validated.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_subclass_of_kerass_callback_sees_each_batch(tmp_path):
    steps = []

    class Mine(keras.callbacks.ModelCheckpoint):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            steps.append(int(self.model.optimizer.iterations))

    saves = Mine(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    fitted({}, callbacks=[saves], epochs=3)
    assert steps == list(range(1, 10))


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"steps_per_execution": 2}, [2, 2, 2, 2, 2, 1]), ({}, [1, 4, 4, 2])],
)
def test_a_number_of_steps_that_is_given_is_kept(options, expected, monkeypatch):
    taken = []
    repeat = multi_step._ArrayLoop.__call__

    def counted(self, batches, numbers, steps):
        taken.append(steps)
        return repeat(self, batches, numbers, steps)

    monkeypatch.setattr(multi_step._ArrayLoop, "__call__", counted)
    monkeypatch.setattr(Pace, "measured", lambda self, steps, seconds: setattr(self, "steps", 4))
    fitted(options, batch_size=1, epochs=1)
    assert taken == expected


def test_a_callback_of_batches_sees_each_and_may_stop():
    calls = Calls()
    fitted({}, callbacks=[calls], epochs=2)
    assert calls.batches == [0, 1, 2] * 2
    assert calls.steps == [1, 2, 3, 4, 5, 6]
    calls = Calls()
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(stop.model, "stop_training", batch == 1)
    )
    model, _ = fitted({}, callbacks=[calls, stop])
    assert calls.steps == [1, 2]
    assert int(model.optimizer.iterations) == 2
    calls = Calls()
    fitted({"steps_per_execution": 2}, callbacks=[calls], epochs=1)
    assert (calls.batches, calls.steps) == ([0, 2], [2, 3])


def test_an_epoch_has_the_steps_that_it_was_given():
    """Also where the steps of an execution do not divide them: 3 + 2."""
    model, history = fitted({"steps_per_execution": 3}, steps_per_epoch=5, epochs=2)
    assert int(model.optimizer.iterations) == 10
    assert len(history["loss"]) == 2


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_a_step_is_traced_once_however_many_a_call_takes(jit_compile):
    def step(batch):
        traces.append(batch.shape)
        total.assign_add(tf.reduce_sum(batch))
        return {"total": total.read_value()}

    for steps in (2, 40):
        traces, total = [], tf.Variable(0.0)
        run = multi_step.over_arrays(step, jit_compile, otherwise=None)
        batches = ArrayBatches(tf.range(80.0), 2, steps_per_call=steps, watched=True)
        batches.on_epoch_begin()
        assert float(run(batches)["total"]) == sum(range(2 * steps))
        assert traces == [[2]]
    batches = ArrayBatches(tf.range(81.0), 2, steps_per_call=41)  # the last batch has one row
    batches.on_epoch_begin()
    total.assign(0)
    assert float(run(batches)["total"]) == sum(range(81))


def passes(batches, count):
    """The rows of `count` epochs, batch by batch."""
    epochs = []
    for _ in range(count):
        batches.on_epoch_begin()
        epochs.append([batch.numpy().tolist() for batch in batches])
    return epochs


def test_a_pass_has_every_row_once_and_the_seed_fixes_the_order():
    runs = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        runs.append(passes(ArrayBatches(tf.range(11), 4, shuffle=True), 2))
    assert runs[0] == runs[1] != runs[2]
    for epoch in runs[0]:
        assert [len(batch) for batch in epoch] == [4, 4, 3]
        assert sorted(itertools.chain(*epoch)) == list(range(11))
    assert runs[0][0] != runs[0][1]
    assert passes(ArrayBatches(tf.range(3), 2), 2) == [[[0, 1], [2]]] * 2


def test_epochs_of_a_length_are_the_endless_data_set():
    """The same rows as `batching.batches` at the same seed, in full batches over all passes."""
    keras.utils.set_random_seed(5)
    expected = [b.numpy().tolist() for b in batching.batches(np.arange(11), 4).take(12)]
    keras.utils.set_random_seed(5)
    epochs = passes(ArrayBatches(tf.range(11), 4, shuffle=True, steps=6), 2)
    assert list(itertools.chain(*epochs)) == expected


def test_time_decides_how_many_steps_a_call_takes():
    pace = Pace()
    taken = []
    for seconds in (5.0, 0.004, 0.008, 0.016, 0.032, 0.064, 0.1, 0.1):  # of a step: 4 ms
        taken.append(pace.steps)
        pace.measured(pace.steps, seconds)
    assert taken == [1, 1, 2, 4, 8, 16, 25, 25]
    pace = Pace(10)
    pace.measured(10, 5.0)
    pace.measured(10, 0.04)
    assert pace.steps == 20  # and 25 would be no multiple
    pace.measured(20, 0.08)
    assert pace.steps == 20
    pace.measured(20, 8.0)
    assert pace.steps == 10


def test_only_dense_numbers_are_held():
    dense = {"a": np.zeros([2, 1]), "b": [np.zeros(2, "uint8")]}
    held = on_device(dense, "float32")
    assert (held["a"].dtype, held["b"][0].dtype) == (tf.float32, tf.uint8)
    assert on_device((tf.ragged.constant([[1.0], []]),)) is None
    assert on_device((np.array(["a"]),)) is None
