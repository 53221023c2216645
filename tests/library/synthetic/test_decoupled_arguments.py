"""Arguments of DecoupledModel: labels, losses, stages and critics of all kinds, good and bad."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.synthetic import DecoupledModel, dense_critic, direct_module, imagenet_critic, split
from tests.support.cut_nets import copied
from tests.support.refusals import refused_in_one_line

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CUTS = ["first", "second"]
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=[12, 4]).astype("float32"), RNG.integers(0, 3, 12)


def net(inputs=(4,), softmax=False):
    x = start = keras.Input(inputs)
    x = keras.layers.Dense(6, "tanh", name="first")(x)
    x = keras.layers.Dense(5, "tanh", name="second")(x)
    return keras.Model(start, keras.layers.Dense(3, "softmax" if softmax else None)(x))


def compiled(model, loss=CROSS_ENTROPY, **settings):
    model.compile("sgd", loss=loss, run_eagerly=True, **settings)
    return model


def direct_dense(shape, outputs):
    h, y = keras.Input(shape), keras.Input([outputs])
    return keras.Model([h, y], keras.layers.Dense(shape[-1])(keras.layers.Concatenate()([h, y])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sobolov"}, "Model: method is 'sobolev', .*, got 'sobolov'"),
        (
            {"gradient_target": "exact"},
            "Model: gradient_target is 'bootstrapped' or 'true', got 'exact'",
        ),
        ({"diagnose_every": 0}, "diagnose_every is a whole number of at least 1, got 0"),
        ({"critic": None}, "expected a critic builder, or 2 critics"),
        ({"critic": [dense_critic((6,), 3)]}, "2 critics, one for each cut; got 1"),
        ({"critic": dense_critic((6,), 3)}, "2 critics, one for each cut; got 1"),
        ({"critic": "dense_critic"}, "2 critics, one for each cut; got 1"),
        ({"critic": lambda shape, _: dense_critic(shape, 7)}, r"cut 1 gives outputs .*\(7,\)"),
        ({"critic": lambda _, k: dense_critic((9,), k)}, r"cut 1 takes inputs .*\(9,\)"),
        ({"critic": lambda *_: keras.Sequential([])}, "cut 1 is <Sequential.*with keras.Input"),
        (
            {"critic": imagenet_critic},
            r"imagenet_critic makes no critic for cut 1, where h is \[6\]",
        ),
        (
            {"critic": direct_module, "method": "direct"},
            r"cut 1, where h is \[6\]: direct_module takes h of shape \[H,W,C\], got \[6\]: for",
        ),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        DecoupledModel(split(net(), at=CUTS), **{"critic": dense_critic, **options})


def test_one_critic_at_two_cuts_is_refused():
    start = keras.Input([4])
    x = keras.layers.Dense(6, "tanh", name="first")(start)
    x = keras.layers.Dense(6, "tanh", name="second")(x)
    stages = split(keras.Model(start, keras.layers.Dense(3)(x)), CUTS)
    critic = dense_critic((6,), 3)
    message = "DecoupledModel: the critic at cut 2 shares '.*' with the critic at cut 1; each"
    for critics in ([critic, critic], lambda *_: critic):
        with pytest.raises(ValueError, match=message):
            DecoupledModel(stages, critics)


def test_weights_that_two_losses_would_train_are_refused():
    shared = keras.layers.Dense(3, name="shared")

    def model(*layers):
        return keras.Sequential([keras.Input([3]), *layers])

    with pytest.raises(ValueError, match=r"at cut 1 shares '.*shared/kernel' with stage 2;"):
        DecoupledModel([model(keras.layers.Dense(3)), model(shared)], [model(shared)])
    stages = [model(keras.layers.Dense(3)) for _ in range(3)]
    with pytest.raises(ValueError, match=r"cut 2 shares '.*/kernel' with the critic at cut 1;"):
        DecoupledModel(stages, lambda *_: model(shared))
    with pytest.raises(ValueError, match=r"stage 2 shares '.*/kernel' with stage 1;"):
        DecoupledModel([model(shared), model(shared)], dense_critic)


@pytest.mark.parametrize("label", ["classes", "one-hot"])
def test_weights_of_classes_are_refused_where_a_row_has_several(label):
    model = DecoupledModel(split(net([7, 4]), CUTS[1:]), method="noprop")
    compiled(model)
    x, y = np.zeros([7, 7, 4]), np.zeros([7, 7], int)
    y = np.eye(3)[y] if label == "one-hot" else y
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(7)
    for train in (
        lambda: model.fit(x, y, class_weight={0: 2.0}),
        lambda: model.fit(data, class_weight={0: 2.0}),
        lambda: model.train_on_batch(x, y, class_weight={0: 2.0}),
    ):
        with pytest.raises(ValueError, match=r"one class in each row, and .* gives \[B, 7, 3\]"):
            train()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "expected stages as split"),
        (net(), "expected stages as split"),
        (split(net(), CUTS)[::-1], "stage 2 takes .*, and stage 1 gives"),
    ],
)
def test_stages_that_do_not_fit_are_named(stages, message):
    with pytest.raises(ValueError, match=message):
        DecoupledModel(stages, dense_critic)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"critic_loss_weights": [1.0]}, "critic_loss_weights are pairs"),
        ({"critic_loss_weights": 1.0}, "critic_loss_weights are pairs"),
        ({"critic_losses": "mse"}, "critic_loss_weights are pairs"),
        ({"critic_losses": [None, "mse"]}, "critic_loss_weights are pairs"),
        ({"loss": None}, "expected one loss"),
        ({"loss": ["mse", "mse"]}, "expected one loss"),
        ({"loss": keras.losses.MeanSquaredError("sum")}, "reduction='sum'"),
        ({"loss_weights": [2.0]}, "loss_weights is for several losses"),
    ],
)
def test_bad_settings_are_named(settings, message):
    model = DecoupledModel(split(net(), at=CUTS), dense_critic)
    with pytest.raises(ValueError, match=message):
        compiled(model, **settings)


@pytest.mark.parametrize("shape", [[8], [6, 8], [None, None, 4]])
def test_a_direct_module_of_other_activations_is_the_users_own(shape):
    words = rf"^direct_module takes h of shape \[H,W,C\], got {re.escape(str(shape))}: for any"
    refused_in_one_line(lambda: direct_module(shape, 3), words)


def test_a_direct_module_has_no_label_gradient():
    model = DecoupledModel(split(net(), CUTS), direct_dense, "direct")
    with pytest.raises(ValueError, match="compile: label_weight needs a critic"):
        compiled(model, label_weight=0.1)


def test_labels_are_needed():
    model = compiled(DecoupledModel(split(net(), CUTS), dense_critic))
    for method in ("fit", "evaluate"):
        text = rf"^DecoupledModel\.{method}: labels are missing: pass them as \S+{method}\(x, y\)"
        with pytest.raises(ValueError, match=text):
            getattr(model, method)(X, verbose=0)


def test_a_loss_of_the_whole_batch_is_named():
    model = DecoupledModel(split(net(), CUTS), dense_critic)
    compiled(model, lambda y, p: tf.reduce_mean(tf.square(tf.one_hot(tf.cast(y, "int32"), 3) - p)))
    with pytest.raises(ValueError, match="one number for the batch; expected one for each example"):
        model.fit(X, Y, verbose=0)


def test_an_example_has_one_weight():
    model = compiled(DecoupledModel(split(net(), CUTS), dense_critic))
    with pytest.raises(ValueError, match=r"sample_weight has shape \[6, 2\], expected \[B\]"):
        model.train_on_batch(X[:6], Y[:6], sample_weight=np.ones([6, 2]))


def test_a_mask_would_be_lost_at_a_cut():
    start = keras.Input([4], dtype="int32")
    x = keras.layers.Embedding(7, 6, mask_zero=True)(start)
    x = keras.layers.Dense(5, name="cut")(x)
    stages = split(keras.Model(start, keras.layers.Dense(3)(x)), ["cut"])
    model = compiled(DecoupledModel(stages, lambda _, k: dense_per_step(k)))
    with pytest.raises(ValueError, match="carry a Keras mask"):
        model.fit(RNG.integers(0, 7, [6, 4]), RNG.integers(0, 3, [6, 4]), verbose=0)


class AddsLoss(keras.layers.Layer):
    def call(self, x):
        self.add_loss(tf.reduce_sum(x**2))
        return x


def net_with(layer, cut):
    """A net of three layers: `layer` follows the first or the second, which is a cut's."""
    x = start = keras.Input([4])
    for name in CUTS:
        x = keras.layers.Dense(5, "tanh", name=name, kernel_regularizer="l2")(x)
        x = layer(x) if name == cut else x
    return keras.Model(start, keras.layers.Dense(3, kernel_regularizer="l2")(x))


@pytest.mark.parametrize("layer", [AddsLoss, keras.layers.ActivityRegularization])
@pytest.mark.parametrize("options", [{}, {"placement": ["CPU:0", "CPU:1", "CPU:0"]}])
@pytest.mark.parametrize("method", ["sobolev", "flipped", "noprop", "backprop"])
def test_losses_of_activations_above_a_cut_are_refused(layer, options, method):
    if method == "flipped" and options:
        return
    layer = layer(**({} if layer is AddsLoss else {"l2": 0.1}), name="adds")
    model = DecoupledModel(split(net_with(layer, "second"), CUTS), dense_critic, method, **options)
    before = model.get_weights()
    message = "^DecoupledModel: layer 'adds' of stage 3 adds a loss of its activations .*backprop"
    if method in ("noprop", "backprop"):
        assert np.isfinite(compiled(model).fit(X, Y, verbose=0).history["loss"]).all()
        return
    with pytest.raises(ValueError, match=message):
        compiled(model).fit(X, Y, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_below_the_first_cut_they_change_the_first_stage_only():
    """Its update has the gradient of 0.3 |h|², Keras's mean over the batch, beside the critic's."""
    kernels = []
    for l2 in (0.0, 0.3):
        keras.utils.set_random_seed(0)
        inside = keras.layers.ActivityRegularization(l2=l2)
        model = DecoupledModel(split(net_with(inside, "first"), ["second"]), dense_critic)
        model.compile(keras.optimizers.SGD(1.0), loss=CROSS_ENTROPY, run_eagerly=True)
        kernel = model.stages[0].layers[1].kernel
        h = tf.Variable(kernel.numpy())
        with tf.GradientTape() as tape:
            penalty = l2 * tf.reduce_sum(tf.tanh(X @ h) ** 2) / len(X)
        expected = tape.gradient(penalty, h)
        model.fit(X, Y, batch_size=12, verbose=0)
        kernels.append((kernel.numpy(), expected.numpy(), model.critics[0].get_weights()[0]))
    (plain, _, critic), (penalized, gradient, same) = kernels
    np.testing.assert_allclose(plain - penalized, gradient, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(critic, same)


def dense_per_step(outputs):
    return keras.Sequential([keras.Input([4, 5]), keras.layers.Dense(outputs)])


def test_the_critics_classes_are_counted_at_every_step_of_a_sequence():
    """With the true upper part as critic, its accuracy is the network's."""
    stages = split(net([7, 4]), CUTS[1:])
    model = DecoupledModel(stages, [copied(stages[1])])
    compiled(model, metrics=["accuracy"])
    model.optimizer.learning_rate = model.critic_optimizer.learning_rate = 0.0
    logs = model.fit(RNG.normal(size=[12, 7, 4]), RNG.integers(0, 3, [12, 7]), verbose=0).history
    assert 0 < logs["accuracy"][0] < 1
    assert logs["cut1_accuracy"] == pytest.approx(logs["accuracy"])


@pytest.mark.parametrize("kind", ["int", "float ids", "int one-hot", "bool one-hot"])
def test_direct_modules_take_labels_of_any_kind(kind):
    classes = {
        "int": Y,
        "float ids": Y.astype("float32"),
        "int one-hot": np.eye(3, dtype="int32")[Y],
        "bool one-hot": np.eye(3, dtype=bool)[Y],
    }
    losses = []
    for labels in (Y, classes[kind]):
        keras.utils.set_random_seed(0)
        model = DecoupledModel(split(net(), CUTS), direct_dense, method="direct")
        sparse = np.ndim(labels) == 1
        loss = CROSS_ENTROPY if sparse else keras.losses.CategoricalCrossentropy(from_logits=True)
        compiled(model, loss)
        model.fit(X, labels, epochs=2, verbose=0, shuffle=False)
        losses.append(model(X).numpy())
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_cross_entropy_may_be_given_by_name():
    model = DecoupledModel(split(net(softmax=True), CUTS), dense_critic)
    compiled(model, "sparse_categorical_crossentropy", label_weight=0.5)
    assert "cut1_accuracy" in model.fit(X, Y, verbose=0).history


def test_gradients_may_be_accumulated():
    """Two batches of six with accumulation are one of twelve."""
    weights = []
    for size, accumulated in ((12, None), (6, 2)):
        keras.utils.set_random_seed(0)
        model = DecoupledModel(split(net(), CUTS), dense_critic)
        optimizers = [
            keras.optimizers.SGD(rate, gradient_accumulation_steps=accumulated)
            for rate in (0.1, 0.0)
        ]
        model.compile(*optimizers, loss=CROSS_ENTROPY, run_eagerly=True)
        model.fit(X, Y, batch_size=size, verbose=0, shuffle=False)
        weights.append(model.stages[0].get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-6)


def test_critics_may_learn_of_a_frozen_network():
    model = DecoupledModel(split(net(), CUTS), dense_critic)
    for stage in model.stages:
        stage.trainable = False
    before = model.critics[0].get_weights()[0]
    compiled(model).fit(X, Y, verbose=0)
    assert np.abs(model.critics[0].get_weights()[0] - before).max() > 0
