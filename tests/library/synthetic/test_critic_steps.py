"""Several updates of the critics for each of the network's, against loops in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import row_share
from sobolev_tf.losses import L1Norm
from sobolev_tf.synthetic import DecoupledModel, split
from sobolev_tf.synthetic.critic_updates import CriticUpdates
from tests.support.cut_nets import compiled, points, tanh_net


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def linear_critic(shape, outputs):
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(outputs)])


def linear_direct(shape, outputs):
    h, y = keras.Input(shape), keras.Input([outputs])
    x = keras.layers.Concatenate()([h, y])
    return keras.Model([h, y], keras.layers.Dense(shape[-1])(x))


def one_cut(method, critic_optimizer, **options):
    """x -> tanh(x A + a) -> logits h B + b, cut at h, with a linear critic or module."""
    inputs = keras.Input([4])
    h = keras.layers.Dense(6, "tanh", name="first")(inputs)
    stages = split(keras.Model(inputs, keras.layers.Dense(3)(h)), ["first"])
    critic = linear_direct if method == "direct" else linear_critic
    model = DecoupledModel(stages, critic, method)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    defaults = {"run_eagerly": not tf.distribute.has_strategy()}
    model.compile(keras.optimizers.SGD(1.0), critic_optimizer, loss, **defaults | options)
    return model


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def critic_gradients(method, share, kernel, bias, h, one_hot, value, gradient, weight):
    """d/d(kernel, bias) of the weighted mean of |m - L| + share |SG - dL/dh|_1, by formula."""
    weight = (weight / len(h))[:, None]
    if method == "direct":
        features = np.concatenate([h, one_hot], 1)
        sign = share * weight * np.sign(features @ kernel + bias - gradient)
        return features.T @ sign, sign.sum(0)
    p = softmax(h @ kernel + bias)
    residual = p - one_hot
    m = -np.log((p * one_hot).sum(1))
    by_logits = weight * np.sign(m - value)[:, None] * residual
    by_kernel = 0.0
    if method == "sobolev":  # SG = kernel (p - y)
        sign = share * weight * np.sign(residual @ kernel.T - gradient)
        pulled = sign @ kernel
        by_logits += p * pulled - p * (p * pulled).sum(1, keepdims=True)
        by_kernel = sign.T @ residual
    return h.T @ by_logits + by_kernel, by_logits.sum(0)


# Numbers that float32 has exactly, which Keras's own pass through.
ADAM = {"learning_rate": 2**-7, "beta_1": 1 - 2**-3, "beta_2": 1 - 2**-10, "epsilon": 2**-23}


class Adam:
    def __init__(self, parameters):
        self.count = 0
        self.parameters = parameters
        self.moments = [[0.0, 0.0] for _ in parameters]

    def apply(self, gradients):
        self.count += 1
        rate, one, two, epsilon = ADAM.values()
        rate *= np.sqrt(1 - two**self.count) / (1 - one**self.count)
        for k, gradient in enumerate(gradients):
            first, second = self.moments[k]
            first, second = (
                one * first + (1 - one) * gradient,
                two * second + (1 - two) * gradient**2,
            )
            self.moments[k] = [first, second]
            self.parameters[k] = self.parameters[k] - rate * first / (np.sqrt(second) + epsilon)


@pytest.mark.parametrize(
    ("steps", "batch", "over", "drawn"),
    [
        (1, None, "sum", 1.0),
        (1, None, "mean", 1.0),
        (3, None, "sum", 1.0),
        (3, 3, "mean", 1.0),
        (2, 20, "sum", 1.0),
        (1, None, "sum", 0.3),
        (3, 3, "mean", 0.5),
    ],
)
@pytest.mark.parametrize("method", ["sobolev", "critic", "direct"])
def test_critics_take_steps_on_slices_of_the_batch(method, steps, batch, over, drawn, float64):
    """Two training steps; the slices of three of seven examples go around the batch's end.

    Losses are compared at all examples of a slice, gradients at those that are drawn from it.
    """
    model = one_cut(
        method,
        keras.optimizers.Adam(**ADAM),
        critic_losses=(L1Norm(), L1Norm(over)),
        critic_steps=steps,
        critic_batch=batch,
        derivative_share=drawn,
    )
    share = 1.0 if over == "sum" else 1 / 6  # of the dimensions of h
    x, y = points()
    weight = np.array([1.0, 0.5, 2.0, 0.0, 1.5, 3.0, 1.0])
    one_hot = np.eye(3)[y]
    lower, lower_bias, upper, upper_bias = (v.numpy() for v in model.network_variables)
    own = Adam([v.numpy() for v in model.critic_variables])
    for _ in range(2):
        model.train_on_batch(x, y, sample_weight=weight)
        h = np.tanh(x @ lower + lower_bias)
        q = softmax(h @ upper + upper_bias)
        value, gradient = -np.log((q * one_hot).sum(1)), (q - one_hot) @ upper.T
        kernel, bias = own.parameters
        if method == "direct":
            synthetic = np.concatenate([h, one_hot], 1) @ kernel + bias
        else:
            synthetic = (softmax(h @ kernel + bias) - one_hot) @ kernel.T
        for k in range(steps):
            size = min(batch or 7, 7)
            rows = (k * (batch or 0) + np.arange(size)) % 7
            some = row_share.draw(tf.range(size), drawn, tf.constant(own.count)).numpy()
            examples = [t[rows] for t in (h, one_hot, value, gradient, weight)]
            examples_drawn = [t[some] for t in examples]
            of_losses = critic_gradients(method, 0.0, *own.parameters, *examples)
            of_drawn = (
                critic_gradients(method, share, *own.parameters, *examples_drawn),
                critic_gradients(method, 0.0, *own.parameters, *examples_drawn),
            )
            own.apply([a + b - c for a, b, c in zip(of_losses, *of_drawn, strict=True)])
        example = weight[:, None] / 7
        by_logits, by_sum = example * (q - one_hot), example * synthetic * (1 - h**2)
        lower, lower_bias = lower - x.T @ by_sum, lower_bias - by_sum.sum(0)
        upper, upper_bias = upper - h.T @ by_logits, upper_bias - by_logits.sum(0)
    network = (lower, lower_bias, upper, upper_bias)
    for variable, expected in zip(model.network_variables, network, strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-8, atol=1e-11)
    for variable, expected in zip(model.critic_variables, own.parameters, strict=True):
        np.testing.assert_allclose(variable, expected, rtol=1e-8, atol=1e-11)
    assert int(model.critic_optimizer.iterations) == 2 * steps


@pytest.mark.parametrize(
    ("optimizer", "options", "replica_options"),
    [
        (keras.optimizers.Adam, {"critic_steps": 2, "critic_batch": 4}, {}),
        pytest.param(
            keras.optimizers.SGD,  # the sum of its updates has no order
            {"critic_steps": 4, "critic_batch": 2},
            {"critic_steps": 4, "critic_batch": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            keras.optimizers.SGD,
            {"critic_steps": 4, "critic_batch": 4},
            {"critic_steps": 4, "critic_batch": 4, "critic_updates": "sync"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_slices_are_the_replicas_updates(
    optimizer, options, replica_options, two_replicas, float64
):
    """A linear module far off its target has an L1 gradient that its weights do not change.

    Then it does not matter that replicas compute theirs at the weights before the first update.
    """

    def step(scope, options):
        keras.utils.set_random_seed(1)
        with scope:
            model = one_cut("direct", optimizer(1e-3), **options)
            model.critics[0].layers[-1].bias.assign(3 * np.ones(6))
        data = tf.data.Dataset.from_tensor_slices(points(8)).batch(8)
        model.fit(data, shuffle=False, verbose=0)
        updates = keras.ops.convert_to_numpy(model.critic_optimizer.iterations)
        return [updates, *map(keras.ops.convert_to_numpy, model.get_weights())]

    one = step(tf.distribute.get_strategy().scope(), options)
    two = step(two_replicas.scope(), replica_options)
    assert one[0] == options["critic_steps"]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_updates_are_those_over_all_replicas(two_replicas):
    with two_replicas.scope():
        assert CriticUpdates(steps=1).rounds == 1  # two updates, one from each
        assert CriticUpdates(steps=3).rounds == 2  # four
        assert CriticUpdates(steps=3).total == 4
        assert CriticUpdates("sync", steps=3).total == 3
        assert CriticUpdates("sync", steps=3).rounds == 3
        share = CriticUpdates("sync", steps=3, batch=6).take(1, [tf.range(8), None])
        assert share[0].numpy().tolist() == [3, 4, 5]
        assert CriticUpdates(batch=6).take(1, tf.range(8)).numpy().tolist() == [6, 7, 0, 1, 2, 3]
    assert CriticUpdates(steps=3).rounds == 3
    assert CriticUpdates(batch=3).take(1, tf.range(0)).shape == [0]


@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_execution": 2},
        pytest.param({"jit_compile": True, "steps_per_execution": 2}, marks=pytest.mark.slow),
    ],
)
def test_compiled_and_eager_take_the_same_steps(options):
    def train(**options):
        keras.utils.set_random_seed(1)
        steps = {"critic_steps": 2, "critic_batch": 2, "derivative_share": 0.5}
        model = one_cut("sobolev", "adam", **steps, **options)
        logs = model.fit(*points(12), batch_size=4, shuffle=False, verbose=0).history
        return model.get_weights(), logs

    (eager, logs), (graph, others) = train(), train(run_eagerly=False, **options)
    for a, b in zip(eager, graph, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert logs.keys() == others.keys()


def test_half_precision_takes_them_too():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(
            tanh_net(), critic_rate=0.01, critic_steps=3, critic_batch=4, derivative_share=0.5
        )
    finally:
        keras.config.set_dtype_policy("float32")
    before = model.critic_variables[0].numpy()
    model.train_on_batch(*points(6))
    assert int(model.critic_optimizer.iterations) == 3
    assert 0 < np.abs(model.critic_variables[0].numpy() - before).max() < 1


def test_more_steps_change_the_compiled_function():
    model = one_cut("direct", "adam", run_eagerly=False)
    model.train_on_batch(*points())
    model.critic_updates = CriticUpdates(steps=3)
    model.train_on_batch(*points())
    assert int(model.critic_optimizer.iterations) == 4


def test_a_file_keeps_them(tmp_path):
    options = {"critic_batch": 2, "critic_updates": "sync", "derivative_share": 0.5}
    model = one_cut("sobolev", "adam", critic_steps=3, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.critic_updates == CriticUpdates("sync", 3, 2)
    assert loaded.critic_loss.derivative_share == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"critic_steps": 0}, "compile: critic_steps is a whole number of at least 1, got 0"),
        ({"critic_batch": 1.5}, "compile: critic_batch is a whole number of at least 1, got 1.5"),
        ({"derivative_share": 0.0}, "^compile: derivative_share is a finite number above 0, got 0"),
        ({"derivative_share": 2.0}, "^compile: derivative_share is at most 1, got 2"),
        ({"critic_updates": "hogwild"}, "compile: critic_updates is 'sync' or 'sequential"),
    ],
)
def test_bad_numbers_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        compiled(tanh_net(), **options)


@pytest.mark.parametrize("options", [{"critic_steps": 2}, {"critic_batch": 2}])
def test_a_placement_takes_one_update_in_a_step(options):
    with pytest.raises(ValueError, match="compile: placement: critics take one update of the whol"):
        compiled(tanh_net(), placement=["CPU:0", "CPU:1", "CPU:0"], **options)


@pytest.mark.parametrize("scaled", [False, True])
def test_each_part_of_an_accumulated_update_draws_examples_of_its_own(drawn_steps, scaled):
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    one_cut("sobolev", optimizer, derivative_share=0.5).fit(*points(8), batch_size=2, verbose=0)
    assert drawn_steps == [0, 1, 2, 3]


def test_critics_draw_their_examples_with_replicas_and_with_a_placement(two_replicas):
    with two_replicas.scope():
        model = one_cut("sobolev", "adam", derivative_share=0.5)
    data = tf.data.Dataset.from_tensor_slices(points(8)).batch(8)
    assert np.isfinite(model.fit(data, shuffle=False, verbose=0).history["loss"][0])
    assert keras.ops.convert_to_numpy(model.critic_optimizer.iterations) == 2

    def trained(**options):
        keras.utils.set_random_seed(1)
        model = compiled(tanh_net(), rate=0.1, critic_rate=0.01, derivative_share=0.5, **options)
        model.train_on_batch(*points(8))
        return model.get_weights()

    for a, b in zip(trained(), trained(placement=["CPU:0"] * 3), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_share_refuses_critics_with_batch_normalization():
    model = one_cut("sobolev", "adam")
    critic = keras.Sequential([linear_critic([6], 3), keras.layers.BatchNormalization()])
    model = DecoupledModel(model.stages, critic)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", "adam", loss)
    with pytest.raises(ValueError, match=r"compile: derivative_share .* would take its statistics"):
        model.compile("adam", "adam", loss, derivative_share=0.5)
