"""Training steps against hand-computed gradients, stock Keras and known critics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.synthetic import (
    METHODS,
    DecoupledModel,
    SyntheticGradient,
    dense_critic,
    direct_module,
    imagenet_critic,
    split,
)
from sobolev_tf.synthetic.methods import CONTROLS
from tests.support.cut_nets import (
    CROSS_ENTROPY,
    CUTS,
    compiled,
    conv_net,
    copied,
    images,
    points,
    tanh_net,
)
from tests.support.hand_gradients import hand_gradients


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def dense_direct(shape, outputs):
    h, y = keras.Input(shape), keras.Input([outputs])
    x = keras.layers.Dense(6, "tanh")(keras.layers.Concatenate()([h, y]))
    return keras.Model([h, y], keras.layers.Dense(shape[-1])(x))


@pytest.mark.parametrize("label_weight", [0.0, 0.3])
@pytest.mark.parametrize("target", ["bootstrapped", "true"])
@pytest.mark.parametrize("method", [m for m in METHODS if m not in CONTROLS])
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
    model = DecoupledModel(stages, critic=[copied(stages[1])], diagnose_every=1)
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


def test_what_trains_the_critic_does_not_train_the_network():
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


def test_the_critics_own_classes_are_counted():
    stages = split(conv_net(batch_norm=False), at=["second"])
    x, y = images()
    for loss, labels in ((CROSS_ENTROPY, y), ("mse", np.eye(3, dtype="f")[y])):
        model = DecoupledModel(stages, critic=[copied(stages[1])])
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
    assert logs["cut2_cosine"][0] == 0  # starts at zero
    assert logs["cut2_cosine"][-1] > 0.5
    with pytest.raises(ValueError, match="those of h and y"):
        DecoupledModel(split(conv_net(), at=CUTS), imagenet_critic, method="direct")


@pytest.mark.parametrize("placement", [None, ["CPU:0", "CPU:1", "CPU:0"]])
def test_the_layers_are_the_wiring(placement, monkeypatch):
    """Layers whose gradient is twice as large move the stages below them twice as far."""

    def updates():
        keras.utils.set_random_seed(1)
        model = compiled(tanh_net(), placement=placement, rate=0.1)
        before = [v.numpy() for v in model.network_variables]
        model.train_on_batch(*points())
        return [a - v.numpy() for a, v in zip(before, model.network_variables, strict=True)]

    once, call = updates(), SyntheticGradient.call

    def twice(layer, h, y, *, weight=1.0, **options):
        return call(layer, h, y, weight=2.0 * weight, **options)

    monkeypatch.setattr(SyntheticGradient, "call", twice)
    for k, (single, double) in enumerate(zip(once, updates(), strict=True)):
        assert np.abs(single).max() > 1e-4
        np.testing.assert_allclose(double, single * (2 if k < 4 else 1), rtol=1e-4, atol=1e-7)


def test_two_replicas_by_default_update_a_critic_one_after_another(two_replicas, float64):
    """The stages by the mean of the halves' gradients, a critic by the sum of its own of each."""
    x, y = points(8)
    weight = np.array([1.0, 0.5, 2.0, 0.0, 1.5, 3.0, 1.0, 0.2])
    with two_replicas.scope():
        model = compiled(tanh_net(), critic_loss_weights=[2.0, 0.5])
    assert model.critic_updates.mode == "sequential_async"
    twin = compiled(tanh_net(), critic_loss_weights=[2.0, 0.5])
    twin.set_weights(model.get_weights())
    halves = [hand_gradients(twin, x[k], y[k], weight[k]) for k in (slice(0, 4), slice(4, 8))]
    network, critics = (
        [a + b for a, b in zip(*pair, strict=True)] for pair in zip(*halves, strict=True)
    )
    expected = [*(gradient / 2 for gradient in network), *critics]
    data = tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(8)
    model.fit(data, shuffle=False, verbose=0)
    assert keras.ops.convert_to_numpy(model.critic_optimizer.iterations) == 2
    pairs = [
        *zip(twin.network_variables, model.network_variables, strict=True),
        *zip(twin.critic_variables, model.critic_variables, strict=True),
    ]
    for (before, after), gradient in zip(pairs, expected, strict=True):
        moved = before.numpy() - keras.ops.convert_to_numpy(after)
        np.testing.assert_allclose(moved, gradient, rtol=1e-9, atol=1e-12)


def sequence_net(outputs):
    inputs = keras.Input([7, 4])
    h = keras.layers.Dense(6, "tanh", name="first")(inputs)
    return keras.Model(inputs, keras.layers.Dense(outputs)(h))


def squares(y, outputs):
    return (y - outputs) ** 2


IGNORES_0 = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
NUMBERS = np.arange(49).reshape(7, 7) % 3  # labels [B,T]


@pytest.mark.parametrize(("outputs", "loss"), [(1, squares), (3, IGNORES_0)])
@pytest.mark.parametrize("placement", [None, ["CPU:0", "CPU:1"]])
def test_weights_of_sequences_and_ignored_classes(outputs, loss, placement):
    """As many steps T as examples; a critic that is the true upper part has nothing to learn."""
    keras.utils.set_random_seed(0)
    stages = split(sequence_net(outputs), at=["first"])
    model = DecoupledModel(
        stages, critic=[copied(stages[1])], diagnose_every=1, placement=placement
    )
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0), loss)
    x, weight = keras.random.normal([7, 7, 4]).numpy(), np.arange(7.0)
    outputs = model.predict(x, verbose=0)
    if loss is squares:
        values, counts = (NUMBERS - outputs[..., 0]) ** 2, np.ones([7, 7])
    else:
        values = np.log(np.exp(outputs).sum(-1)) - np.take_along_axis(
            outputs, NUMBERS[..., None], -1
        ).squeeze(-1)
        counts = NUMBERS > 0
    expected = (values * counts * weight[:, None]).sum() / counts.sum()
    logs = model.fit(x, NUMBERS, sample_weight=weight, verbose=0).history
    evaluated = model.evaluate(x, NUMBERS, sample_weight=weight, verbose=0)
    np.testing.assert_allclose([logs["loss"][0], evaluated], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["cut1_loss"] + logs["cut1_gradient_loss"], 0, atol=1e-4)
    if placement is None:
        np.testing.assert_allclose(logs["cut1_cosine"] + logs["cut1_norm_ratio"], 1, rtol=1e-5)
