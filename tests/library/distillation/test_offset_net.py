"""Internal derivatives: in an inner layer's output, by hand and in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.distillation import loss_net, offset_net

RNG = np.random.default_rng(0)
X = RNG.normal(size=[5, 3])
ZEROS = np.zeros([5, 4])


def net(seed, first=6):
    """3 -> first -> 4 (named inner) -> 2: nets of other first layers still meet at `inner`."""
    layers = [keras.layers.Dense(first, "tanh", dtype="float64")]
    layers += [keras.layers.Dense(4, "tanh", dtype="float64", name="inner")]
    layers += [keras.layers.Dense(2, "tanh", dtype="float64")]
    model = keras.Sequential([keras.Input([3], dtype="float64"), *layers])
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def by_hand(f):
    """Values [B,2], and derivatives in the output of `inner` [B,2,4]."""
    w1, b1, w2, b2, w3, b3 = f.get_weights()
    h = np.tanh(np.tanh(X @ w1 + b1) @ w2 + b2)
    value = np.tanh(h @ w3 + b3)
    return value, (1 - value[..., None] ** 2) * w3.T


def test_at_offset_0_value_and_internal_derivative_are_the_net_s():
    model = st.SobolevModel(offset_net(net(1), "inner"), wrt="offset")
    jet = model.predict_jet({"x": X, "offset": ZEROS})
    value, derivative = by_hand(net(1))
    np.testing.assert_allclose(jet.value, value, rtol=1e-12)
    np.testing.assert_allclose(jet.derivatives[0], derivative, rtol=1e-12)


def test_the_second_internal_derivative_is_that_of_the_upper_layers():
    f = net(1)
    model = st.SobolevModel(offset_net(f, "inner"), order=2, wrt="offset")
    hessian = model.predict_jet({"x": X, "offset": ZEROS}).derivatives[1]
    value, derivative = by_hand(f)
    kernel = f.get_weights()[4].T
    expected = -2 * value[..., None, None] * derivative[..., None] * kernel[:, None, :]
    np.testing.assert_allclose(hessian, expected, rtol=1e-10, atol=1e-14)


def trainer(student, teacher, wrt="offset"):
    target = st.targets.Teacher(offset_net(teacher, "inner"))
    model = st.SobolevModel(offset_net(student, "inner"), target=target, wrt=wrt)
    model.compile(keras.optimizers.SGD(1.0), loss_weights=[1.0, 0.5], run_eagerly=True)
    return model


def loss_by_hand(student, teacher):
    (value, slope), (true, true_slope) = by_hand(student), by_hand(teacher)
    off = np.sum((value - true) ** 2, 1) + 0.5 * np.sum((slope - true_slope) ** 2, (1, 2))
    return np.mean(off)


def test_student_and_teacher_of_other_lower_layers_are_compared_at_their_own_activations():
    student, teacher = net(1, first=3), net(2, first=8)
    found = trainer(student, teacher).evaluate(
        {"x": X, "offset": ZEROS}, verbose=0, return_dict=True
    )
    assert found["loss"] == pytest.approx(loss_by_hand(student, teacher))


@pytest.mark.parametrize("place", [0, 4], ids=["below the layer", "above the layer"])
def test_a_step_follows_the_gradient_below_and_above_the_layer(place):
    student, teacher = net(1), net(2)
    before = student.get_weights()

    def loss(kernel):
        student.set_weights([*before[:place], kernel, *before[place + 1 :]])
        return loss_by_hand(student, teacher)

    expected = np.zeros_like(before[place])
    for entry in np.ndindex(*expected.shape):
        moved = np.zeros_like(expected)
        moved[entry] = 1e-6
        expected[entry] = (loss(before[place] + moved) - loss(before[place] - moved)) / 2e-6
    student.set_weights(before)
    trainer(student, teacher).fit({"x": X, "offset": ZEROS}, batch_size=5, verbose=0)
    step = before[place] - student.get_weights()[place]
    np.testing.assert_allclose(step, expected, rtol=1e-5, atol=1e-8)


def test_input_and_internal_derivatives_are_matched_together():
    f = net(1)
    model = trainer(f, net(2), wrt=["x", "offset"])
    both = model.predict_jet({"x": X, "offset": ZEROS}).derivatives[0]
    assert both.shape == (5, 2, 7)
    np.testing.assert_allclose(both[..., :3], st.jet(f, X).derivatives[0], rtol=1e-12)
    np.testing.assert_allclose(both[..., 3:], by_hand(f)[1], rtol=1e-12)


def test_the_loss_s_internal_derivative_is_what_a_critic_learns():
    f, y = net(1), np.array([0, 1, 1, 0, 1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = st.SobolevModel(loss_net(offset_net(f, "inner"), loss), wrt="offset")
    found = model.predict_jet({"x": X, "offset": ZEROS, "y": y}).derivatives[0][:, 0]
    lower, upper = st.split(f, at=["inner"])
    h = tf.constant(lower(X))
    with tf.GradientTape() as tape:
        tape.watch(h)
        total = tf.reduce_sum(loss.call(y, upper(h)))
    np.testing.assert_allclose(found, tape.gradient(total, h), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_it_comes_back_from_a_file(tmp_path):
    model, data = trainer(net(1), net(2)), {"x": X, "offset": ZEROS}
    before = model.evaluate(data, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(data, verbose=0) == pytest.approx(before)


def test_layers_and_nets_that_cannot_be_cut_are_refused():
    with pytest.raises(ValueError, match=r"no layer named 'iner'.*did you mean inner"):
        offset_net(net(1), "iner")
    with pytest.raises(ValueError, match="takes a built net of one input"):
        offset_net(keras.Sequential([keras.layers.Dense(1)]), "dense")


def test_inputs_of_two_dtypes_have_the_derivatives_of_each():
    """An offset of a half-precision layer beside x in float32."""
    keras.config.set_dtype_policy("mixed_float16")
    layers = [keras.layers.Dense(4, name="inner"), keras.layers.Dense(2)]
    f = keras.Sequential([keras.Input([3]), *layers])
    keras.config.set_dtype_policy("float32")
    model = st.SobolevModel(offset_net(f, "inner"), wrt=["x", "offset"])
    [derivative] = model.predict_jet({"x": X, "offset": ZEROS}).derivatives
    lower, _, upper, _ = f.get_weights()
    expected = np.concatenate([(lower @ upper).T, upper.T], 1)  # [2,3 + 4]
    np.testing.assert_allclose(derivative, [expected] * 5, atol=2e-3)
