"""missing="nan" leaves entries out of any loss: of single entries one by one, of others by rows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel, losses
from sobolev_tf.model.coupled_entries import couples_entries
from sobolev_tf.model.objective import Objective
from tests.support.cases import slow

NAN = np.nan
LABEL = np.array([[1, NAN], [0, 1], [NAN, NAN]], "f")
PREDICTED = np.array([[0.5, 7], [-2, 2], [3, 4]], "f")
KNOWN = ~np.isnan(LABEL)
LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
SOFTMAX = keras.losses.CategoricalCrossentropy(from_logits=True)


def pseudo_huber(y, p):
    return keras.ops.mean(keras.ops.sqrt(1 + (y - p) ** 2), axis=-1)


def sum_of_ratios(y, p):
    return tf.reduce_sum(1 + tf.abs(p / (y + 2)), axis=-1)


# Losses of the three known entries of LABEL, by hand, and the slopes there.
BY_HAND = [
    ("mse", [0.25, 4, 1], [-1, -4, 2], 2),
    ("mae", [0.5, 2, 1], [-1, -1, 1], 2),
    (keras.losses.Huber(0.5), [0.125, 0.875, 0.375], [-0.5, -0.5, 0.5], 2),
    (
        LOGITS,
        [np.log1p(np.exp(-0.5)), np.log1p(np.exp(-2)), np.log1p(np.exp(-2))],
        [-1 / (1 + np.exp(0.5)), 1 / (1 + np.exp(2)), -1 / (1 + np.exp(2))],
        2,
    ),
    # 0 is -1 here.
    ("hinge", [0.5, 0, 0], [-1, 0, 0], 2),
    (
        pseudo_huber,
        [np.sqrt(1.25), np.sqrt(5), np.sqrt(2)],
        [-0.5 / np.sqrt(1.25), -2 / np.sqrt(5), 1 / np.sqrt(2)],
        2,
    ),
    (sum_of_ratios, [1 + 0.5 / 3, 2, 1 + 2 / 3], [1 / 3, -0.5, 1 / 3], 1),
    (losses.SquaredNorm(), [0.25, 4, 1], [-1, -4, 2], 1),
]
NAMES = [losses.name_of(losses.resolve(loss)) for loss, *_ in BY_HAND]


def identity(**settings):
    """A model x [B,2] -> x, whose slopes are those of x."""
    net = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
    net.set_weights([np.eye(2), np.zeros(2)])
    model = SobolevModel(net)
    model.compile(keras.optimizers.SGD(1.0), missing="nan", **settings)
    return model


@pytest.mark.parametrize("mean_over", ["batch", "present"])
@pytest.mark.parametrize(("loss", "values", "slopes", "entries"), BY_HAND, ids=NAMES)
def test_missing_entries_have_neither_loss_nor_gradient(loss, values, slopes, entries, mean_over):
    objective = Objective(0, loss, missing="nan", mean_over=mean_over)
    weights = np.array([1, 3, 2], "f")
    predicted = tf.constant(PREDICTED)
    with tf.GradientTape() as tape:
        tape.watch(predicted)
        mean = objective.term("value", tf.constant(LABEL), predicted, tf.constant(weights))
    # Rows are 3; a mean over the entries of a row is over 2, known or not.
    share = 0.5 if mean_over == "present" else 1
    of_rows = np.array([1, 3, 3]) / (3 * entries * share)
    assert float(mean) == pytest.approx(np.dot(of_rows, values), rel=1e-5)
    gradient = tape.gradient(mean, predicted).numpy()
    np.testing.assert_array_equal(gradient[~KNOWN], 0)
    np.testing.assert_allclose(gradient[KNOWN], of_rows * slopes, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("mean_over", "divisor"), [("batch", 6), ("present", 3)])
@pytest.mark.parametrize("eager", [*slow(False), True])
def test_training_and_logs(mean_over, divisor, eager):
    model = identity(loss=[LOGITS, None], mean_over=mean_over, run_eagerly=eager)
    _, values, slopes, _ = BY_HAND[3]
    for batch_size in (3, 1):
        logs = model.evaluate(PREDICTED, LABEL, batch_size, verbose=0, return_dict=True)
        assert logs["value_loss"] == pytest.approx(sum(values) / divisor, rel=1e-5)
        assert logs["loss"] == pytest.approx(sum(values) / divisor, rel=1e-5)
    history = model.fit(PREDICTED, LABEL, batch_size=3, verbose=0).history
    assert history["loss"] == pytest.approx([sum(values) / divisor], rel=1e-5)
    gradient = np.zeros([3, 2])
    gradient[KNOWN] = np.array(slopes) / divisor
    kernel, bias = model.net.get_weights()
    np.testing.assert_allclose(kernel, np.eye(2) - PREDICTED.T @ gradient, atol=1e-5)
    np.testing.assert_allclose(bias, -gradient.sum(0), atol=1e-6)


@pytest.mark.parametrize(("mean_over", "divisor"), [("batch", 12), ("present", 5)])
def test_derivatives(mean_over, divisor):
    """The slopes are 1, 0, 0, 1 in every row; the pseudo-Huber loss of an error e is √(1 + e²)."""
    dy = np.full([3, 2, 2], NAN, "f")
    dy[0] = [[1, 1], [2, NAN]]
    dy[1, 0] = [3, 0]
    model = identity(loss=["mse", pseudo_huber], mean_over=mean_over)
    logs = model.evaluate(PREDICTED, (PREDICTED, dy), verbose=0, return_dict=True)
    by_hand = np.sqrt([1, 2, 5, 5, 1]).sum() / divisor
    assert logs["d1_loss"] == pytest.approx(by_hand, rel=1e-5)
    assert logs["loss"] == pytest.approx(by_hand, rel=1e-5)
    model.fit(PREDICTED, (PREDICTED, dy), batch_size=3, verbose=0)
    slope = np.sqrt([2, 5, 5])
    expected = np.array([[0 - 2 / slope[2], -1 / slope[0]], [-2 / slope[1], 0]]) / divisor
    np.testing.assert_allclose(model.net.get_weights()[0], np.eye(2) - expected.T, atol=1e-5)


def test_under_xla_and_on_two_replicas(two_replicas):
    _, values, _, _ = BY_HAND[3]
    model = identity(loss=[LOGITS, None], jit_compile=True)
    logs = model.evaluate(PREDICTED, LABEL, verbose=0, return_dict=True)
    assert logs["value_loss"] == pytest.approx(sum(values) / 6, rel=1e-5)
    with two_replicas.scope():
        model = identity(loss=[LOGITS, None], mean_over="present")
        x, y = PREDICTED[[0, 1, 2, 2]], LABEL[[0, 1, 2, 2]]
        logs = model.fit(x, y, batch_size=4, verbose=0).history
    assert logs["value_loss"] == pytest.approx([sum(values) / 3], rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    ["cosine_similarity", "kl_divergence", losses.Norm(), losses.RelativeNorm(), "poisson"],
)
def test_where_zeros_add_nothing_the_rest_of_a_row_counts_alone(loss):
    loss = losses.resolve(loss)
    assert not couples_entries(loss, 3)
    label, predicted = np.random.default_rng(0).uniform(0.1, 1, [2, 4, 3]).astype("f")
    objective = Objective(0, loss, missing="nan")
    shorter = (tf.constant(t[:, 1:]) for t in (label, predicted))
    alone = tf.reduce_mean(losses.per_example(loss, *shorter))
    label[:, 0] = NAN
    term = objective.term("value", tf.constant(label), tf.constant(predicted))
    factor = 2 / 3 if losses.name_of(loss) == "poisson" else 1  # a mean
    assert float(term) == pytest.approx(factor * float(alone), rel=1e-5)


def rows(label, batch_size=2):
    return tf.data.Dataset.from_tensor_slices((PREDICTED, label)).batch(batch_size)


@pytest.mark.filterwarnings("ignore:compile. the net ends in a linear layer")
@pytest.mark.parametrize("loss", [SOFTMAX, "categorical_crossentropy", "categorical_hinge"])
def test_rows_that_are_known_in_part_are_refused_where_entries_are_compared(loss):
    partly = np.array([[1, 0], [0, 1], [NAN, 1]], "f")
    name = losses.name_of(losses.resolve(loss))
    model = identity(loss=[loss, None])
    before = model.net.get_weights()
    calls = [
        lambda: model.fit(PREDICTED, partly, verbose=0),
        lambda: model.evaluate(PREDICTED, partly, verbose=0),
        lambda: model.train_on_batch(PREDICTED, partly),
        lambda: model.fit(PREDICTED, PREDICTED, validation_data=(PREDICTED, partly), verbose=0),
        lambda: model.problem(PREDICTED, partly),
    ]
    for call in calls:
        text = rf"label value is partly missing, first in row 2, and its loss, {name}, "
        with pytest.raises(ValueError, match=text) as error:
            call()
        assert "\n" not in str(error.value)
    for kernel, other in zip(model.net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(kernel, other)
    text = r"^SobolevModel.fit: label value is partly missing, first in row 2 \(batch 1\)"
    with pytest.raises(ValueError, match=text):
        model.fit(rows(partly), verbose=0)
    with pytest.raises(ValueError, match=text):
        model.fit(iter([(PREDICTED[:2], partly[:2]), (PREDICTED[2:], partly[2:])]), verbose=0)


@pytest.mark.filterwarnings("ignore:compile. the net ends in a linear layer")
@pytest.mark.parametrize(("mean_over", "divisor"), [("batch", 3), ("present", 2)])
def test_rows_that_are_missing_as_a_whole_are_left_out(mean_over, divisor):
    whole = np.array([[1, 0], [0, 1], [NAN, NAN]], "f")
    model = identity(loss=[SOFTMAX, None], mean_over=mean_over)
    by_hand = (np.log1p(np.exp(6.5)) + np.log1p(np.exp(-4))) / divisor
    for data in [(PREDICTED, whole, 3), (rows(whole, 3),)]:
        logs = model.evaluate(*data, verbose=0, return_dict=True)
        assert logs["value_loss"] == pytest.approx(by_hand, rel=1e-5)
    model = identity(loss=["categorical_crossentropy", None], mean_over=mean_over)
    logs = model.evaluate(np.abs(PREDICTED), whole, 3, verbose=0, return_dict=True)
    by_hand = (np.log(7.5 / 0.5) + np.log(2)) / divisor
    assert logs["value_loss"] == pytest.approx(by_hand, rel=1e-4)
    model.fit(np.abs(PREDICTED), whole, verbose=0)
    assert np.isfinite(model.net.get_weights()[0]).all()


def test_padded_steps_of_a_sequence_of_classes_are_left_out():
    x = np.random.default_rng(0).normal(size=[4, 5, 3]).astype("f")
    net = keras.Sequential([keras.Input([5, 3]), keras.layers.Identity()])
    y = np.eye(3, dtype="f")[np.random.default_rng(1).integers(0, 3, [4, 5])]
    y[:, 3:] = NAN
    y[0] = NAN
    model = SobolevModel(net, order=0)
    model.compile("sgd", SOFTMAX, missing="nan", mean_over="present")
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    by_hand = keras.losses.categorical_crossentropy(y[1:, :3], x[1:, :3], from_logits=True)
    assert logs["loss"] == pytest.approx(float(np.mean(by_hand)), rel=1e-5)
    y[2, 1, 0] = NAN
    with pytest.raises(ValueError, match="partly missing, first in row 2"):
        model.evaluate(x, y, verbose=0)


def test_a_step_whose_rows_nobody_has_looked_at_gives_nan_and_no_wrong_number():
    objective = Objective(0, SOFTMAX, missing="nan")
    assert np.isnan(objective.term("value", tf.constant(LABEL), tf.constant(PREDICTED)))


@pytest.mark.parametrize(
    ("loss", "size", "coupled"),
    [
        (pseudo_huber, 3, False),
        (sum_of_ratios, 1000, False),
        (lambda y, p: tf.math.reduce_variance(y - p, -1), 3, True),
        (lambda y, p: tf.reduce_sum((y - p) ** 2 * [1.0, 2.0, 3.0], -1), 3, False),
        (lambda y, p: tf.reduce_max(tf.abs(y - p), -1), 3, False),
        (lambda y, p: tf.norm(y - p, axis=-1), 3, False),
        (SOFTMAX, 3, True),
        (SOFTMAX, 1, False),
        (losses.resolve("sparse_categorical_crossentropy"), 3, False),
    ],
)
def test_whether_a_loss_compares_entries_is_found_by_trying_it(loss, size, coupled):
    assert couples_entries(loss, size) == coupled
