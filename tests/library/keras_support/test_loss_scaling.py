"""Loss scaling with several replicas: a gradient of any of them may overflow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel
from sobolev_tf.keras_support.loss_scaling import skipped_together
from sobolev_tf.keras_support.strategies import apply_replicas_sequentially
from tests.support.cut_nets import compiled, points, tanh_net


def apply(strategy, gradients, update):
    """Take one update of a weight 0, at rate 1, by each replica's gradient of the loss itself."""
    with strategy.scope():
        weight = keras.Variable([0.0])
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), 8.0)
        optimizer.build([weight])

    @tf.function
    def step():
        def of_replica():
            here = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = optimizer.scale_loss(tf.gather(gradients, [here]))
            update(optimizer, [mine], [weight])

        strategy.run(of_replica)

    step()
    return float(weight.numpy()[0]), float(optimizer.dynamic_scale.numpy())


@pytest.mark.parametrize(
    ("gradients", "moved", "scale"),
    [([1.0, 2.0], -3.0, 8.0), ([1.0, np.inf], 0.0, 4.0), ([np.nan, 2.0], 0.0, 4.0)],
)
def test_a_step_is_skipped_if_any_replica_overflows(gradients, moved, scale, two_replicas):
    def update(optimizer, gradients, variables):
        optimizer.apply(skipped_together(optimizer, gradients), variables)

    assert apply(two_replicas, gradients, update) == (moved, scale)


@pytest.mark.parametrize(
    ("gradients", "moved", "scale"),
    [([1.0, 2.0], -3.0, 8.0), ([1.0, np.inf], -1.0, 4.0), ([np.nan, 2.0], -2.0, 4.0)],
)
def test_in_turn_only_the_replica_that_overflows_is_skipped(gradients, moved, scale, two_replicas):
    assert apply(two_replicas, gradients, apply_replicas_sequentially) == (moved, scale)


def half_net():
    """A half-precision net, of layers whose policy is not the global one."""
    inputs = keras.Input([4])
    h = keras.layers.Dense(6, "tanh", name="first", dtype="mixed_float16")(inputs)
    h = keras.layers.Dense(5, "tanh", name="second", dtype="mixed_float16")(h)
    return keras.Model(inputs, keras.layers.Dense(3, dtype="float32")(h))


@pytest.mark.parametrize("make", [lambda: SobolevModel(half_net()), lambda: compiled(half_net())])
def test_the_loss_is_scaled_unless_that_is_switched_off(make, tmp_path):
    scaled = keras.optimizers.LossScaleOptimizer
    model = make()
    model.compile("sgd", loss="mse")
    assert type(model.optimizer) is scaled
    assert type(getattr(model, "critic_optimizer", model.optimizer)) is scaled
    model.compile("sgd", loss="mse", auto_scale_loss=False)
    assert type(model.optimizer) is keras.optimizers.SGD
    assert type(getattr(model, "critic_optimizer", None)) is not scaled
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is keras.optimizers.SGD


@pytest.mark.slow
def test_a_weight_survives_the_overflow_of_the_second_replica(two_replicas):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with two_replicas.scope():
            model = compiled(tanh_net(), rate=0.1, critic_rate=0.1)
    finally:
        keras.config.set_dtype_policy("float32")
    before = model.network_variables[0].numpy()
    weight = np.array([1.0] * 4 + [1e34] * 4, "float32")
    data = tf.data.Dataset.from_tensor_slices((*points(8), weight)).batch(8)
    model.fit(data, verbose=0)  # ends with an error if a weight is not finite
    np.testing.assert_array_equal(model.network_variables[0].numpy(), before)
    assert int(model.critic_optimizer.iterations.numpy()) == 1
