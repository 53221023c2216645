"""The engine against hand-computed gradients, stock Keras, replicas, saving and bad input."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.decoupled import METHODS, DecoupledModel
from sobolev_tf.losses import SquaredNorm
from sobolev_tf.splitting import split
from sobolev_tf.synthetic import dense_critic, direct_module, imagenet_critic

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CUTS = ["first", "second"]
OPTIONS = ("gradient_target", "diagnose_every", "label_weight")


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def tanh_net():
    inputs = keras.Input([4])
    h = keras.layers.Dense(6, "tanh", name="first")(inputs)
    h = keras.layers.Dense(5, "tanh", name="second")(h)
    return keras.Model(inputs, keras.layers.Dense(3, name="third")(h))


def conv_net(batch_norm=True):
    h = inputs = keras.Input([8, 8, 3])
    for k, name in enumerate(CUTS):
        h = keras.layers.Conv2D(4 + k, 3, padding="same", use_bias=False)(h)
        if batch_norm:
            h = keras.layers.BatchNormalization()(h)
        h = keras.layers.ReLU(name=name)(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    return keras.Model(inputs, keras.layers.Dense(3)(h))


def images(n=24, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 8, 8, 3)).astype(dtype), rng.integers(0, 3, n)


def points(n=7):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), rng.integers(0, 3, n)


def dense_direct(shape, outputs):
    h, y = keras.Input(shape), keras.Input([outputs])
    x = keras.layers.Dense(6, "tanh")(keras.layers.Concatenate()([h, y]))
    return keras.Model([h, y], keras.layers.Dense(shape[-1])(x))


def compiled(net, method="sobolev", critic=dense_critic, rate=1.0, critic_rate=1.0, **kwargs):
    options = {k: kwargs.pop(k) for k in list(kwargs) if k in OPTIONS}
    model = DecoupledModel(split(net, at=CUTS), critic, method, **options)
    model.compile(
        optimizer=keras.optimizers.SGD(rate),
        critic_optimizer=keras.optimizers.SGD(critic_rate),
        # Built here: a loss keeps the float type of its birth.
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # Faster than a trace; one test below holds both against each other.
        **{"run_eagerly": not tf.distribute.has_strategy()} | kwargs,
    )
    return model


def hand_gradients(model, x, y, weight):
    """Updates of SGD at rate 1, stage by stage with explicit output gradients, and the targets."""
    weight = tf.constant(weight)
    n = len(x)
    tapes, ins, outs = [], [], []
    h = tf.constant(x)
    for stage in model.stages:
        tape = tf.GradientTape(persistent=True)
        with tape:
            tape.watch(h)
            out = stage(h, training=True)
        tapes.append(tape)
        ins.append(h)
        outs.append(out)
        h = out
    with tf.GradientTape() as tape:
        tape.watch(outs[-1])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, outs[-1])
    arriving = tape.gradient(losses, outs[-1])  # per example
    synthetic, critic_tapes, values = [], [], []
    for critic, h in zip(model.critics, outs[:-1], strict=False):
        critic_tape = tf.GradientTape(persistent=True)
        if model.method == "direct":
            with critic_tape:
                synthetic.append(critic([h, tf.one_hot(y, 3, dtype=h.dtype)]))
                m = losses  # not predicted
        else:
            with critic_tape, tf.GradientTape() as tape:
                tape.watch(h)
                m = tf.nn.sparse_softmax_cross_entropy_with_logits(y, critic(h))
            with critic_tape:
                synthetic.append(tape.gradient(m, h))
        critic_tapes.append(critic_tape)
        values.append(m)
    true, bootstrapped, updates = [], [], []
    full = arriving
    for k in (2, 1, 0):
        handed = synthetic[k] if model.bridges and k < 2 else full if k == 2 else None
        if model.method == "backprop":
            handed = full
        if handed is not None:
            share = handed * (weight / n)[:, None]
            updates = tapes[k].gradient(outs[k], model.stages[k].weights, share) + updates
            bootstrapped.insert(0, tapes[k].gradient(outs[k], ins[k], handed))
        full = tapes[k].gradient(outs[k], ins[k], full)
        true.insert(0, full)
    targets = (true if model.gradient_target == "true" else bootstrapped)[1:]
    value_weight = 2.0 * (model.method in ("sobolev", "critic"))
    gradient_weight = 0.5 * (model.method in ("sobolev", "vfbn", "direct"))
    critic_updates = []
    for critic, tape, m, sg, g, h in zip(
        model.critics, critic_tapes, values, synthetic, targets, outs, strict=False
    ):
        with tape:
            objective = value_weight * tf.reduce_sum(weight * tf.abs(m - losses)) / n
            objective += gradient_weight * tf.reduce_sum(weight[:, None] * tf.abs(sg - g)) / n
            if model.label_weight:
                said, truth = tf.nn.log_softmax(critic(h)), tf.nn.log_softmax(outs[-1])
                classes = said - tf.stop_gradient(truth)
                objective += model.label_weight * tf.reduce_sum(weight[:, None] * classes**2) / n
        critic_updates += tape.gradient(objective, critic.trainable_variables)
    return updates, critic_updates


@pytest.mark.parametrize("label_weight", [0.0, 0.3])
@pytest.mark.parametrize("target", ["bootstrapped", "true"])
@pytest.mark.parametrize("method", METHODS)
def test_every_gradient_equals_the_hand_computed_one(method, target, label_weight, float64):
    if method == "direct" and label_weight:
        with pytest.raises(ValueError, match="label_weight needs a critic"):
            compiled(tanh_net(), method, dense_direct, label_weight=label_weight)
        return
    model = compiled(
        tanh_net(),
        method,
        dense_direct if method == "direct" else dense_critic,
        gradient_target=target,
        label_weight=label_weight,
        critic_loss_weights=[2.0, 0.5],
    )
    x, y = points()
    weight = np.array([1.0, 0.5, 2.0, 0.0, 1.5, 3.0, 1.0])
    expected, expected_critic = hand_gradients(model, x, y, weight)
    before = [v.numpy() for v in model.network_variables]
    critic_before = [v.numpy() for v in model.critic_variables]
    model.train_on_batch(x, y, sample_weight=weight)
    assert len(before) == len(expected) > 0
    for old, variable, gradient in zip(before, model.network_variables, expected, strict=True):
        np.testing.assert_allclose(old - variable.numpy(), gradient, rtol=1e-9, atol=1e-12)
    for old, variable, gradient in zip(
        critic_before, model.critic_variables, expected_critic, strict=True
    ):
        np.testing.assert_allclose(old - variable.numpy(), gradient, rtol=1e-9, atol=1e-12)


def test_backprop_is_plain_fit():
    """The same weights after five steps of stock Keras, with L2, momentum and BatchNorm."""

    def build():
        keras.utils.set_random_seed(1)
        net = conv_net()
        for layer in net.layers:
            if hasattr(layer, "kernel"):
                layer.kernel_regularizer = layer.kernel.regularizer = keras.regularizers.L2(0.1)
        return net

    x, y = images(40)
    plain = build()
    plain.compile(keras.optimizers.SGD(0.1, momentum=0.9), CROSS_ENTROPY, metrics=["accuracy"])
    model = DecoupledModel(split(build(), at=CUTS), method="backprop")
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=CROSS_ENTROPY, metrics=["accuracy"])
    stock = plain.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
    ours = model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
    assert stock.keys() == ours.keys()
    np.testing.assert_allclose(stock["loss"], ours["loss"], rtol=1e-6)
    for a, b in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_critic_that_is_the_true_upper_part_gives_the_true_gradient():
    net = conv_net(batch_norm=False)
    stages = split(net, at=["second"])
    model = DecoupledModel(stages, critic=[stages[1]], diagnose_every=1)
    model.compile(
        keras.optimizers.SGD(0.0),
        keras.optimizers.SGD(0.0),
        CROSS_ENTROPY,
        metrics=["accuracy"],
    )
    x, y = images()
    logs = model.fit(x, y, batch_size=8, verbose=0).history
    np.testing.assert_allclose(logs["cut1_cosine"], 1, rtol=1e-5)
    np.testing.assert_allclose(logs["cut1_norm_ratio"], 1, rtol=1e-5)
    np.testing.assert_allclose(logs["cut1_loss"], 0, atol=1e-6)
    np.testing.assert_allclose(logs["cut1_gradient_loss"], 0, atol=1e-5)


def test_the_critics_own_classes_are_counted():
    stages = split(conv_net(batch_norm=False), at=["second"])
    x, y = images()
    for loss, labels in ((CROSS_ENTROPY, y), ("mse", np.eye(3, dtype="f")[y])):
        model = DecoupledModel(stages, critic=[stages[1]])
        optimizers = keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0)
        model.compile(*optimizers, loss, metrics=["accuracy"])
        logs = model.fit(x, labels, batch_size=8, verbose=0).history
        if loss == "mse":
            assert "cut1_accuracy" not in logs
        else:
            assert logs["cut1_accuracy"] == logs["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("one_hot", [False, True])
def test_a_direct_module_learns_to_give_gradients(one_hot):
    keras.utils.set_random_seed(0)
    loss = keras.losses.CategoricalCrossentropy if one_hot else type(CROSS_ENTROPY)
    model = DecoupledModel(split(conv_net(), at=CUTS), direct_module, method="direct")
    model.compile(
        keras.optimizers.SGD(0.0), keras.optimizers.Adam(1e-3), loss=loss(from_logits=True)
    )
    x, y = images()
    logs = model.fit(x, np.eye(3, dtype="f")[y] if one_hot else y, epochs=40, verbose=0).history
    assert set(logs) == {
        *(f"cut{k}_{name}" for k in (1, 2) for name in ("gradient_loss", "cosine", "norm_ratio")),
        "loss",
    }
    assert logs["cut2_cosine"][0] == 0  # starts at zero, and hands nothing down
    assert logs["cut2_cosine"][-1] > 0.5
    with pytest.raises(ValueError, match="those of h and y"):
        DecoupledModel(split(conv_net(), at=CUTS), imagenet_critic, method="direct")


def test_what_trains_the_critic_leaves_the_network_alone():
    """One step of sobolev, critic and vfbn differ in the critics only."""
    updates = []
    for method in ("sobolev", "critic", "vfbn"):
        keras.utils.set_random_seed(1)
        model = compiled(tanh_net(), method)
        model.train_on_batch(*points())
        updates.append([v.numpy() for v in (*model.network_variables, *model.critic_variables)])
    network = len(model.network_variables)
    for other in updates[1:]:
        for a, b in zip(updates[0][:network], other[:network], strict=True):
            np.testing.assert_array_equal(a, b)
        critics = zip(updates[0][network:], other[network:], strict=True)
        assert any(np.abs(a - b).max() > 1e-4 for a, b in critics)


def test_noprop_freezes_the_lower_weights_and_moves_batch_norm():
    net = conv_net()
    for layer in net.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.regularizer = keras.regularizers.L2(0.1)
    model = compiled(net, "noprop")
    before = [[v.numpy() for v in stage.variables] for stage in model.stages]
    model.fit(*images(), batch_size=8, verbose=0)
    for k, stage in enumerate(model.stages):
        for old, variable in zip(before[k], stage.variables, strict=True):
            moved = np.abs(old - variable.numpy()).max() > 0
            assert moved == ("moving" in variable.path or k == 2), variable.path


def test_batch_norm_moves_once_a_step():
    model = compiled(conv_net(), "sobolev", critic=imagenet_critic, gradient_target="true")
    x, _ = images()
    convolution, batch_norm = model.stages[0].layers[1:3]
    mean = tf.reduce_mean(convolution(x), [0, 1, 2])
    model.train_on_batch(*images())
    np.testing.assert_allclose(batch_norm.moving_mean, 0.01 * mean, rtol=1e-4, atol=1e-7)


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

    alone = tf.distribute.get_strategy()
    halves = [
        critic_steps(alone.scope(), batches(s, 4), one_rate)[0] for s in (slice(0, 4), slice(4, 8))
    ]
    both, steps = critic_steps(two_replicas.scope(), batches(slice(8), 8), one_rate)
    assert steps == 2
    for first, second, together in zip(*halves, both, strict=True):
        np.testing.assert_allclose(together, first + second, rtol=1e-3, atol=1e-7)


def test_a_critics_regulariser_counts_once_and_for_the_critic_alone(two_replicas):
    """SGD at rate 1 with hardly any critic loss moves the kernel by exactly 2 * 0.1 * w."""

    def regularised(shape, outputs):
        dense = keras.layers.Dense(outputs, kernel_regularizer=keras.regularizers.L2(0.1))
        return keras.Sequential([keras.Input(shape), dense])

    with two_replicas.scope():
        model = compiled(
            tanh_net(),
            critic=regularised,
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


def test_a_plain_function_sees_labels_of_the_outputs_rank():
    def square(y, outputs):
        return (y - outputs) ** 2

    inputs = keras.Input([4])
    h = keras.layers.Dense(6, "tanh", name="first")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(1)(h))
    model = DecoupledModel(split(net, at=["first"]), dense_critic)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0), loss=square)
    x, y = np.ones([3, 4], "float32"), np.array([1.0, 2.0, 3.0], "float32")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(3)
    logs = model.fit(data, shuffle=False, verbose=0).history
    critic = model.critics[0](model.stages[0](x))
    outputs = model(x)
    expected = np.abs((y[:, None] - critic) ** 2 - (y[:, None] - outputs) ** 2).mean()
    np.testing.assert_allclose(logs["cut1_loss"], expected, rtol=1e-5)


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
    )
    x, y = images()
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.gradient_target == "true"
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    for one in (model, loaded):
        one.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert int(loaded.critic_optimizer.iterations) == 6


def test_evaluate_reports_the_network_alone():
    model = compiled(conv_net(), critic=imagenet_critic, metrics=["accuracy"])
    logs = model.fit(*images(), batch_size=8, validation_data=images(), verbose=0).history
    assert [name for name in logs if name.startswith("val_")] == ["val_accuracy", "val_loss"]
    assert set(model.evaluate(*images(), return_dict=True, verbose=0)) == {"loss", "accuracy"}


def test_export_is_the_plain_network_for_tensorflow_alone(tmp_path):
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
