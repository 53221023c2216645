"""Several steps in one XLA program end where steps of their own end."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.keras_support import multi_step

RNG = np.random.default_rng(0)
X = RNG.normal(size=[60, 2]).astype("float32")
LABELS = RNG.normal(size=[60, 1]).astype("float32"), RNG.normal(size=[60, 1, 2]).astype("float32")


def compiled(steps, **options):
    keras.utils.set_random_seed(0)
    net = st.nets.mlp(2, hidden=[8], activation="tanh")
    model = st.SobolevModel(net, projection="input", projections=2, seed=3)
    model.compile("adam", steps_per_execution=steps, jit_compile=True, **options)
    return model


@pytest.mark.slow
def test_weights_directions_and_logs_are_those_of_single_steps():
    """28 rows in batches of 8: two steps together, two alone, for the last batch has 4 rows."""
    fused, single = compiled(2), compiled(1)
    data = tf.data.Dataset.from_tensor_slices((X, LABELS)).take(28).batch(8)
    logs, expected = (m.fit(data, epochs=2, verbose=0).history for m in (fused, single))
    assert int(fused.optimizer.iterations) == int(single.optimizer.iterations) == 8
    for a, b in zip(fused.get_weights(), single.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert logs.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-4, err_msg=name)


def test_the_loop_is_compiled_as_a_whole():
    def step(batch):
        total.assign_add(tf.reduce_sum(batch[0]))
        return {"total": total.read_value()}

    total = tf.Variable(0.0)
    run = multi_step.fuse_steps(step, 3, otherwise=None)
    iterator = iter(tf.data.Dataset.range(1, 6).map(lambda i: (tf.fill([2], float(i)),)))
    assert float(run(iterator)["total"]) == 2 * (1 + 2 + 3)  # together
    assert float(run(iterator)["total"]) == 2 * (1 + 2 + 3 + 4 + 5)  # two are left
    with pytest.raises(tf.errors.OutOfRangeError):
        run(iterator)


@pytest.mark.slow
def test_what_cannot_be_stacked_goes_kerass_way():
    model = compiled(2)
    history = model.fit(X, (None, LABELS[1]), batch_size=30, verbose=0).history
    assert set(history) == {"loss", "d1_loss"}
    assert model.train_on_batch(X, LABELS, return_dict=True)["loss"] > 0


@pytest.mark.slow
def test_a_nan_stops_it():
    y = LABELS[0].copy()
    y[40] = np.nan
    data = tf.data.Dataset.from_tensor_slices((X, (y, LABELS[1]))).batch(10)
    with pytest.raises(ValueError, match="NaN"):
        compiled(3).fit(data, verbose=0)
