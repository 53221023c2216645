"""DecoupledModel as Keras users know models: replicas, XLA, half precision, files, export."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.losses import SquaredNorm
from sobolev_tf.synthetic import DecoupledModel, dense_critic, imagenet_critic, split
from tests.support.cut_nets import CROSS_ENTROPY, CUTS, compiled, conv_net, images, points, tanh_net


@pytest.mark.slow  # test_distribution.py trains two workers
def test_two_replicas_take_one_process_step(two_replicas):
    def train(scope):
        keras.utils.set_random_seed(1)
        with scope:
            model = compiled(
                conv_net(batch_norm=False), critic=imagenet_critic, rate=0.1, critic_updates="sync"
            )
        data = tf.data.Dataset.from_tensor_slices(images()).batch(8)
        logs = model.fit(data, epochs=2, shuffle=False, verbose=0).history
        return model.get_weights(), logs

    one, one_logs = train(tf.distribute.get_strategy().scope())
    two, two_logs = train(two_replicas.scope())
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert one_logs.keys() == two_logs.keys()
    for name in ("loss", "cut1_loss", "cut2_gradient_loss"):
        np.testing.assert_allclose(one_logs[name], two_logs[name], rtol=1e-4)


@pytest.mark.slow
def test_critics_take_the_replicas_gradients_in_turn(two_replicas):
    """One batch on two replicas moves a critic by each half's own gradient, in two updates."""
    x, y = images(8)

    def critic_steps(scope, data, optimizer):
        keras.utils.set_random_seed(1)
        with scope:
            model = DecoupledModel(split(conv_net(False), at=CUTS), imagenet_critic)
            model.compile(keras.optimizers.SGD(0.0), optimizer(), loss=CROSS_ENTROPY)
        before = [keras.ops.convert_to_numpy(v) for v in model.critic_variables]
        model.fit(data, shuffle=False, verbose=0)
        after = [keras.ops.convert_to_numpy(v) for v in model.critic_variables]
        moved = [b - a for a, b in zip(before, after, strict=True)]
        return moved, keras.ops.convert_to_numpy(model.critic_optimizer.iterations)

    def batches(rows, size):
        return tf.data.Dataset.from_tensor_slices((x[rows], y[rows])).batch(size)

    def one_rate():
        return keras.optimizers.SGD(1e-3)

    single = tf.distribute.get_strategy()
    halves = [
        critic_steps(single.scope(), batches(s, 4), one_rate)[0] for s in (slice(0, 4), slice(4, 8))
    ]
    both, steps = critic_steps(two_replicas.scope(), batches(slice(8), 8), one_rate)
    assert steps == 2
    for first, second, whole in zip(*halves, both, strict=True):
        np.testing.assert_allclose(whole, first + second, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("updates", ["sync", "sequential_async"])
def test_frozen_critics_stay_as_they_are_on_replicas(updates, two_replicas):
    with two_replicas.scope():
        model = compiled(tanh_net(), critic_updates=updates)
        for critic in model.critics:
            critic.trainable = False
        model.compile("sgd", "sgd", loss=CROSS_ENTROPY, critic_updates=updates)
    before = [critic.get_weights() for critic in model.critics]
    stage = model.stages[0].get_weights()
    data = tf.data.Dataset.from_tensor_slices(points(8)).batch(8)
    model.fit(data, verbose=0)
    for old, critic in zip(before, model.critics, strict=True):
        for a, b in zip(old, critic.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.abs(model.stages[0].get_weights()[0] - stage[0]).max() > 0


def test_a_critics_regularizer_counts_once_and_for_the_critic_only(two_replicas):
    """SGD at rate 1 with hardly any critic loss moves the kernel by exactly 2 * 0.1 * w."""

    def regularized(shape, outputs):
        dense = keras.layers.Dense(outputs, kernel_regularizer=keras.regularizers.L2(0.1))
        return keras.Sequential([keras.Input(shape), dense])

    with two_replicas.scope():
        model = compiled(
            tanh_net(),
            critic=regularized,
            rate=0.0,
            critic_loss_weights=[1e-9, 0.0],
            critic_updates="sync",
        )
    kernel = model.critics[0].layers[0].kernel
    before = keras.ops.convert_to_numpy(kernel)
    data = tf.data.Dataset.from_tensor_slices(points(8)).batch(8)
    loss = model.fit(data, shuffle=False, verbose=0).history["loss"]
    after = keras.ops.convert_to_numpy(kernel)
    np.testing.assert_allclose(after, 0.8 * before, rtol=1e-5)
    expected = model.evaluate(data, verbose=0)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"jit_compile": True, "run_eagerly": False}, marks=pytest.mark.slow),
        {"run_eagerly": False},
    ],
)
def test_compiled_and_eager_take_the_same_step(options):
    def train(**options):
        keras.utils.set_random_seed(1)
        model = compiled(conv_net(), critic=imagenet_critic, rate=0.1, critic_rate=0.1, **options)
        model.fit(*images(), batch_size=8, shuffle=False, verbose=0)
        return model.get_weights()

    for a, b in zip(train(), train(**options), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_steps_per_execution_changes_nothing():
    def train(steps):
        keras.utils.set_random_seed(1)
        model = compiled(
            conv_net(), critic=imagenet_critic, steps_per_execution=steps, run_eagerly=False
        )
        logs = model.fit(*images(), batch_size=8, shuffle=False, verbose=0).history
        return model.get_weights(), logs

    (a, one), (b, three) = train(1), train(3)
    for u, v in zip(a, b, strict=True):
        np.testing.assert_allclose(u, v, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one["cut1_cosine"], three["cut1_cosine"], rtol=1e-4)


def test_mixed_precision_scales_synthetic_gradients_as_real_ones():
    def step(policy):
        keras.config.set_dtype_policy(policy)
        try:
            keras.utils.set_random_seed(1)
            model = compiled(conv_net(batch_norm=False), critic=imagenet_critic)
        finally:
            keras.config.set_dtype_policy("float32")
        before = [v.numpy() for v in model.network_variables]
        logs = model.train_on_batch(*images(), return_dict=True)
        pairs = zip(before, model.network_variables, strict=True)
        return model, [old - v.numpy() for old, v in pairs], logs

    _, full, _ = step("float32")
    model, mixed, logs = step("mixed_float16")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(model.critic_optimizer, keras.optimizers.LossScaleOptimizer)
    for a, b in zip(full, mixed, strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(a, b, atol=0.05 * np.abs(a).max())
    assert all(np.isfinite(float(value)) for value in logs.values())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_metrics_that_refuse_half_precision_get_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled(
            tanh_net(), metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = points(8)
    model.train_on_batch(x, y)
    logits = model(x)
    assert logits.dtype.name == policy.removeprefix("mixed_")
    best = np.argsort(np.asarray(logits, np.float32), axis=1)[:, -2:]
    by_hand = np.mean([label in two for label, two in zip(np.ravel(y), best, strict=True)])
    assert model.evaluate(x, y, return_dict=True, verbose=0)["top2"] == pytest.approx(by_hand)


def test_a_softmax_network_gets_critics_that_speak_probabilities():
    inputs = keras.Input([4])
    h = keras.layers.Dense(6, "tanh", name="first")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3, "softmax")(h))
    model = DecoupledModel(split(net, at=["first"]), critic=dense_critic)
    np.testing.assert_allclose(tf.reduce_sum(model.critics[0](tf.ones([2, 6])), 1), 1, rtol=1e-6)


def test_keras_file_keeps_weights_critics_and_both_optimizers(tmp_path):
    net = conv_net()
    model = DecoupledModel(split(net, at=CUTS), imagenet_critic, gradient_target="true")
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.optimizers.Adam(1e-3),
        CROSS_ENTROPY,
        metrics=["accuracy"],
        critic_losses=["mae", SquaredNorm()],
        critic_loss_weights=[1.0, 0.1],
        label_weight=0.3,
        run_eagerly=True,
    )
    x, y = images()
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.gradient_target == "true"
    assert loaded.critic_loss.weights == (1.0, 0.1)
    assert loaded.critic_loss.label_weight == 0.3
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    for one in (model, loaded):
        one.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert int(loaded.critic_optimizer.iterations) == 6


def test_a_label_weight_in_an_older_file_s_constructor_is_taken_over():
    model = compiled(tanh_net())
    config, compiled_with = model.get_config(), model.get_compile_config()
    assert "label_weight" not in config
    assert compiled_with.pop("label_weight") == 0.0
    loaded = DecoupledModel.from_config({**config, "label_weight": 0.3})
    loaded.compile_from_config(compiled_with)
    assert loaded.critic_loss.label_weight == 0.3


def test_export_writes_saved_models_only(tmp_path, capfd):
    model = compiled(tanh_net())
    with pytest.raises(ValueError, match=r"DecoupledModel\.export .*only, got 'onnx'"):
        model.export(tmp_path / "saved", format="onnx")
    model.export(tmp_path / "saved", verbose=True)
    assert capfd.readouterr() == (f"Wrote a SavedModel to {tmp_path / 'saved'}\n", "")


def test_evaluate_reports_the_network_only():
    own = keras.metrics.SparseCategoricalAccuracy("cutoff")
    model = compiled(conv_net(), critic=imagenet_critic, metrics=[own])
    logs = model.fit(*images(), batch_size=8, validation_data=images(), verbose=0).history
    assert [name for name in logs if name.startswith("val_")] == ["val_cutoff", "val_loss"]
    assert set(model.evaluate(*images(), return_dict=True, verbose=0)) == {"loss", "cutoff"}


def test_export_is_the_plain_network_for_tensorflow_only(tmp_path):
    model = compiled(conv_net(), critic=imagenet_critic)
    x, _ = images(3)
    model.export(tmp_path / "saved")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", model.predict(x, verbose=0))
    check = """
import sys, numpy as np, tensorflow as tf
saved = tf.saved_model.load(sys.argv[1] + "/saved")
y = saved.signatures["serving_default"](tf.constant(np.load(sys.argv[1] + "/x.npy")))
[y] = y.values()
np.testing.assert_allclose(y, np.load(sys.argv[1] + "/y.npy"), rtol=1e-5, atol=1e-6)
print(len(saved.variables), "sobolev_tf" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", check, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Two convolutions, two BatchNorms of four variables, and a dense layer: no critic.
    assert done.stdout.split() == ["12", "False"]
