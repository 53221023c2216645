"""Gradient-based attention transfer (SM 5) and Remark 2, by hand and in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as some

import sobolev_tf as st
from sobolev_tf.distillation import loss_net

RNG = np.random.default_rng(0)
X = RNG.normal(size=[6, 3])
CLASSES = RNG.integers(0, 2, 6)
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
ALPHA = 0.3


def net(seed=0, outputs=2, hidden=4):
    model = st.nets.mlp(3, outputs, hidden=[hidden], activation="tanh", dtype="float64")
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def trainer(student, teacher, loss, value_loss, optimizer="sgd", **kwargs):
    target = st.targets.Teacher(loss_net(teacher, loss))
    model = st.SobolevModel(loss_net(student, loss), target=target, wrt="x")
    compared = [value_loss, st.losses.Norm()]
    model.compile(optimizer, compared, [1.0, ALPHA], run_eagerly=True, **kwargs)
    return model


def total(student, teacher, loss, value_loss, y, x=X):
    model = trainer(student, teacher, loss, value_loss)
    return model.evaluate({"x": x, "y": y}, verbose=0, return_dict=True)["loss"]


def squared(y_true, y_pred):
    return tf.reduce_sum((y_pred - y_true) ** 2, -1)


def squared_prediction(y_true, y_pred):
    return tf.reduce_sum(y_pred**2, -1)


def summed(y_true, y_pred):
    return tf.reduce_sum(y_pred - y_true, -1)


def by_hand(f, y, x):
    """Cross-entropy [B] of a net of one tanh layer, and its gradient [B,D]."""
    w, b, v, c = f.get_weights()
    h = np.tanh(x @ w + b)
    logits = h @ v + c
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gradient = ((p - np.eye(2)[y]) @ v.T * (1 - h**2)) @ w.T
    return -np.log(p[np.arange(len(y)), y]), gradient


@pytest.mark.parametrize("sobolev", [False, True])
def test_the_transfer_loss_and_its_sobolev_form_by_hand(sobolev):
    student, teacher = net(1), net(2)
    (loss, slope), (true, true_slope) = (by_hand(f, CLASSES, X) for f in (student, teacher))
    value_loss = st.losses.L1Norm() if sobolev else st.losses.Prediction()
    value = np.abs(loss - true) if sobolev else loss
    expected = np.mean(value + ALPHA * np.linalg.norm(slope - true_slope, axis=1))
    assert total(student, teacher, CROSS_ENTROPY, value_loss, CLASSES) == pytest.approx(expected)


def test_a_step_follows_the_transfer_loss_s_gradient_in_the_student_s_weights():
    student, teacher = net(1), net(2)
    before = student.get_weights()

    def transfer(kernel):
        student.set_weights([kernel, *before[1:]])
        (loss, slope), (_, true_slope) = (by_hand(f, CLASSES, X) for f in (student, teacher))
        return np.mean(loss + ALPHA * np.linalg.norm(slope - true_slope, axis=1))

    expected = np.zeros_like(before[0])
    for place in np.ndindex(*expected.shape):
        moved = np.zeros_like(expected)
        moved[place] = 1e-6
        expected[place] = (transfer(before[0] + moved) - transfer(before[0] - moved)) / 2e-6
    student.set_weights(before)
    model = trainer(
        student, teacher, CROSS_ENTROPY, st.losses.Prediction(), keras.optimizers.SGD(1.0)
    )
    model.fit({"x": X, "y": CLASSES}, batch_size=len(X), verbose=0)
    step = before[0] - student.get_weights()[0]
    np.testing.assert_allclose(step, expected, rtol=1e-5, atol=1e-8)


@keras.saving.register_keras_serializable(package="test")
class Constant(keras.layers.Layer):
    """Remark 2's class of functions: g(x) = theta."""

    def build(self, shape):
        self.theta = self.add_weight(shape=[1], initializer="ones", dtype="float64")

    def call(self, x):
        return self.theta + 0 * x[:, :1]


def constant(theta):
    model = keras.Sequential([keras.Input([3], dtype="float64"), Constant(dtype="float64")])
    model.set_weights([np.array([theta])])
    return model


def test_remark_2_the_target_is_the_lowest_point_of_the_sobolev_loss_but_not_of_the_transfer_loss():
    theta, y = 1.5, np.zeros([6, 1])

    def at(student, value_loss):
        return total(constant(student), constant(theta), squared_prediction, value_loss, y)

    sobolev, transfer = st.losses.L1Norm(), st.losses.Prediction()
    assert at(theta, sobolev) == 0
    assert at(theta / 2, sobolev) == pytest.approx(theta**2 - theta**2 / 4)
    assert at(theta, transfer) == pytest.approx(theta**2)
    assert at(theta / 2, transfer) == pytest.approx(theta**2 / 4)  # lower than at the target


def test_remark_2_a_step_of_transfer_leaves_the_target_and_one_of_sobolev_training_stays():
    theta, rate, y = 1.5, 0.1, np.zeros([6, 1])
    ends = []
    for value_loss in (st.losses.Prediction(), st.losses.L1Norm()):
        student, optimizer = constant(theta), keras.optimizers.SGD(rate)
        model = trainer(student, constant(theta), squared_prediction, value_loss, optimizer)
        model.fit({"x": X, "y": y}, batch_size=6, verbose=0)
        ends.append(student.get_weights()[0][0])
    assert ends == pytest.approx([theta - rate * 2 * theta, theta])


@settings(max_examples=5, deadline=None)
@given(some.integers(0, 1000), some.integers(0, 1000))
def test_under_the_four_assumptions_both_losses_are_equal(student, teacher):
    teacher = net(teacher)
    y = np.array(teacher(X))  # the target is perfect, and |.|² is never negative
    losses = [
        total(net(student), teacher, squared, value_loss, y)
        for value_loss in (st.losses.Prediction(), st.losses.L1Norm())
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_a_perfect_target_s_loss_has_no_slope_so_its_transfer_is_a_penalty_of_the_student_s_slope():
    teacher = net(2)
    y = np.array(teacher(X))
    model = trainer(net(1), teacher, squared, st.losses.Prediction())
    slope = model.predict_jet({"x": X, "y": y}).derivatives[0][:, 0]
    value = model.predict({"x": X, "y": y}, verbose=0)[:, 0]
    expected = np.mean(value + ALPHA * np.linalg.norm(slope, axis=1))
    assert total(net(1), teacher, squared, st.losses.Prediction(), y) == pytest.approx(expected)


@pytest.mark.parametrize("broken", ["perfect", "non-negative", "L1"])
def test_without_one_of_the_assumptions_the_losses_differ(broken):
    student, teacher = net(1), net(2)
    y = np.array(teacher(X))
    loss, value_loss = squared, st.losses.L1Norm()
    if broken == "perfect":
        y = y + 1
    elif broken == "non-negative":
        loss = summed
    else:
        value_loss = st.losses.SquaredNorm()
    transfer = total(student, teacher, loss, st.losses.Prediction(), y)
    assert abs(total(student, teacher, loss, value_loss, y) - transfer) > 0.1


def test_without_the_first_assumption_the_model_is_of_f_and_its_loss_another():
    student, teacher = net(1), net(2)
    y = np.array(teacher(X))
    model = st.SobolevModel(student, target=st.targets.Teacher(teacher))
    model.compile("sgd", [st.losses.L1Norm(), st.losses.Norm()], [1.0, ALPHA], run_eagerly=True)
    of_f = model.evaluate(X, verbose=0, return_dict=True)["loss"]
    assert abs(of_f - total(net(1), net(2), squared, st.losses.Prediction(), y)) > 0.1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_student_teacher_and_loss_come_back_from_a_file(tmp_path):
    student = net(1)
    model = trainer(student, net(2), CROSS_ENTROPY, st.losses.Prediction(over="mean"))
    data = {"x": X, "y": CLASSES}
    before = model.evaluate(data, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(data, verbose=0) == pytest.approx(before)
    assert type(again.objective.losses["value"]) is st.losses.Prediction
    assert again.objective.losses["value"].over == "mean"


def test_labels_have_the_shape_that_the_loss_takes():
    classes, outputs = (loss_net(net(), loss).input["y"] for loss in (CROSS_ENTROPY, "mse"))
    assert (classes.shape, classes.dtype) == ((None,), "int32")
    assert (outputs.shape, outputs.dtype) == ((None, 2), "float64")
    own = loss_net(net(), squared_prediction, labels=keras.Input([5], dtype="int64")).input["y"]
    assert (own.shape, own.dtype) == ((None, 5), "int64")


def test_the_student_keeps_its_weights_and_the_teacher_is_frozen():
    student, teacher = net(1), net(2)
    model = trainer(student, teacher, CROSS_ENTROPY, st.losses.Prediction())
    before = [f.get_weights() for f in (student, teacher)]
    model.fit({"x": X, "y": CLASSES}, verbose=0)
    moved = [
        max(float(np.max(np.abs(a - b))) for a, b in zip(old, f.get_weights(), strict=True))
        for old, f in zip(before, (student, teacher), strict=True)
    ]
    assert moved[0] > 0
    assert moved[1] == 0


def test_z_scores_would_change_a_loss_that_is_the_prediction_itself():
    model = trainer(net(1), net(2), CROSS_ENTROPY, st.losses.Prediction())
    with pytest.raises(ValueError, match="prediction"):
        model.adapt({"x": X, "y": CLASSES})


def test_nets_without_one_input_and_one_output_are_refused():
    with pytest.raises(ValueError, match="one input and one output, got 0 and 0"):
        loss_net(keras.Sequential([keras.layers.Dense(1)]), "mse")
    a, b = keras.Input([1]), keras.Input([1])
    with pytest.raises(ValueError, match="got 2 and 1"):
        loss_net(keras.Model([a, b], keras.layers.Add()([a, b])), "mse")
    y = keras.Input([1], name="y")
    with pytest.raises(ValueError, match="none y"):
        loss_net(keras.Model({"y": y}, keras.layers.Dense(1)(y)), "mse")
    with pytest.raises(ValueError, match=r"is a keras\.Model"):
        loss_net(lambda x: x, "mse")


def test_a_loss_that_averages_over_the_batch_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^loss_net: loss <lambda> gives one number.*axis=-1\.$"):
        loss_net(net(), lambda y_true, y_pred: tf.reduce_mean(y_pred - y_true))


def test_no_loss_is_refused():
    with pytest.raises(ValueError, match=r"^loss is a Keras loss, its name, or .* got None\.$"):
        loss_net(net(), None)


def test_probabilities_taken_for_logits_are_noticed():
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2, "softmax")])
    with pytest.warns(UserWarning, match="loss_net: the net ends in softmax"):
        loss_net(model, CROSS_ENTROPY)
