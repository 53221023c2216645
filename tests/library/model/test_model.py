"""SobolevModel: equation 1 by hand, labels, live targets, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import PolicyDistiller, SobolevModel, nets, projections, targets
from tests.support.curve import DY, X, Y, assert_same_weights, compiled, weights_of


class ByHand:
    """f(x) = tanh(xW + b)V + c with its gradient, its loss and finite differences, in NumPy."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.x, self.weight = rng.normal(size=[5, 3]), rng.uniform(size=5)
        self.y, self.dy = rng.normal(size=[5, 2]), rng.normal(size=[5, 2, 3])
        self.params = [rng.normal(size=s) for s in ([3, 4], [4], [4, 2], [2])]
        self.u = rng.normal(size=[5, 3, 2])  # three directions on the outputs
        self.v = rng.normal(size=[5, 3, 3])  # and on the inputs

    def jet(self, w, b, v, c):
        t = np.tanh(self.x @ w + b)
        return t @ v + c, np.einsum("ih,bh,hk->bki", w, 1 - t**2, v)

    def loss(self, projection, params):
        value, d1 = self.jet(*params)
        error, rest = self.dy - d1, ()
        if projection == "output":
            error, rest = np.einsum("bki,bpk->bpi", error, self.u), 3
        if projection == "input":
            error, rest = np.einsum("bki,bpi->bpk", error, self.v), 3
        d1_loss = np.sum(self.weight * np.sum(error**2, (1, 2))) / (5 * (rest or 1))
        return 0.5 * np.sum(self.weight * np.sum((value - self.y) ** 2, 1)) / 5 + 3 * d1_loss

    def gradient(self, projection, i, step=1e-6):
        difference = np.zeros_like(self.params[i])
        for index in np.ndindex(difference.shape):
            ends = []
            for sign in (1, -1):
                moved = [p.copy() for p in self.params]
                moved[i][index] += sign * step
                ends.append(self.loss(projection, moved))
            difference[index] = (ends[0] - ends[1]) / (2 * step)
        return difference


@pytest.mark.parametrize("projection", [None, "output", "input"])
def test_a_step_descends_the_gradient_of_equation_1(projection, monkeypatch):
    hand = ByHand()
    layers = [
        keras.layers.Dense(4, activation="tanh", dtype="float64"),
        keras.layers.Dense(2, dtype="float64"),
    ]
    net = keras.Sequential([keras.Input([3], dtype="float64"), *layers])
    net.set_weights(hand.params)
    model = compiled(
        net=net,
        optimizer=keras.optimizers.SGD(1.0),
        loss_weights=[0.5, 3.0],
        **({"projection": projection, "projections": 3} if projection else {}),
    )
    fixed = tf.constant(hand.u if projection == "output" else hand.v)
    monkeypatch.setattr(projections, "sphere", lambda *_: fixed)
    batch = [tf.constant(a) for a in (hand.x, hand.y, hand.dy, hand.weight)]
    logs = model.train_step((batch[0], (batch[1], batch[2]), batch[3]))
    assert float(logs["loss"]) == pytest.approx(hand.loss(projection, hand.params), rel=1e-6)
    for i, weight in enumerate(net.weights):
        expected = hand.gradient(projection, i)
        np.testing.assert_allclose(hand.params[i] - weight.numpy(), expected, rtol=1e-6, atol=1e-8)


def test_integer_labels_are_numbers_for_norms_and_classes_for_sparse_losses():
    net = nets.mlp(2, 3, hidden=[4])
    classes = np.arange(33) % 3
    assert compiled(net=net).fit(X, np.eye(3, dtype=int)[classes], verbose=0).history["loss"]
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sparse = compiled(net=net, loss={"value": entropy})
    assert sparse.fit(X, classes, verbose=0).history["loss"]
    logs = compiled().fit(X, (np.ones(33, "bool"), np.ones([33, 2], int)), verbose=0).history
    assert logs["d1_loss"][0] > 0


def test_derivatives_alone_train_without_a_warning():
    model = compiled(metrics=["mae"])
    assert set(model.fit(X, {"d1": DY}, verbose=0).history) == {"loss", "d1_loss"}
    lefts = ({"loss": [None, "mse"]}, {"loss": {"value": None}}, {"loss_weights": [None, 1]})
    for left_out in lefts:
        model = compiled(**left_out, run_eagerly=False)
        assert set(model.fit(X, (Y, DY), verbose=0).history) == {"loss", "d1_loss"}


def test_a_live_target_is_a_table_computed_in_the_step():
    def truth(x):
        return tf.reduce_sum(tf.sin(x), 1)

    keras.utils.set_random_seed(0)
    live = compiled(target=targets.Function(truth), metrics=["mae"])
    live.fit(X, batch_size=33, epochs=2, verbose=0)
    keras.utils.set_random_seed(0)
    table = compiled()
    table.fit(X, targets.tabulate(truth, X), batch_size=33, epochs=2, verbose=0)
    assert_same_weights(live, table, rtol=1e-4, atol=1e-6)


def test_a_teacher_teaches_and_does_not_learn():
    teacher, student = nets.mlp(2, 3, hidden=[8]), nets.mlp(2, 3, hidden=[4])
    before = teacher.get_weights()
    model = compiled(
        net=student,
        optimizer=keras.optimizers.Adam(0.01),
        target=targets.Teacher(teacher),
        projection="output",
    )
    assert len(model.trainable_variables) == 4
    history = model.fit(X, epochs=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for a, b in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [SobolevModel, PolicyDistiller])
def test_a_students_loss_has_its_own_regularizers_and_not_its_teachers(kind):
    def linear(**regularizers):
        ones = keras.layers.Dense(2, kernel_initializer="ones", **regularizers)
        return keras.Sequential([keras.Input([2]), ones])

    def loss(student, teacher):
        model = kind(student, **{of: targets.Teacher(teacher)})
        model.compile(run_eagerly=True)
        return model.evaluate(X, verbose=0, return_dict=True)["loss"]

    of = "teacher" if kind is PolicyDistiller else "target"
    own = linear(kernel_regularizer="l2", activity_regularizer="l2")
    strict = linear(kernel_regularizer="l2", activity_regularizer="l1")
    expected = 0.01 * 4 + 0.01 * np.sum(X.sum(1) ** 2 * 2) / len(X)  # Keras's mean over the batch
    assert loss(linear(), strict) == pytest.approx(0, abs=1e-6)
    assert loss(own, strict) == pytest.approx(expected, rel=1e-5)


def test_losses_that_a_subclass_adds_count():
    class Penalized(SobolevModel):
        def call(self, x, training=None):
            self.add_loss(tf.constant(3.0))
            return super().call(x, training)

    model = Penalized(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]), order=0)
    model(X)
    assert [float(loss) for loss in model.losses] == [3.0]


def test_missing_labels_are_left_out():
    dy = DY.copy()
    dy[::2] = np.nan
    model = compiled(missing="nan", metrics=["mae"])
    jet = model.predict_jet(X)
    expected = np.sum((jet.derivatives[0] - DY)[1::2] ** 2) / 33
    logs = model.evaluate(X, (Y, dy), batch_size=33, verbose=0, return_dict=True)
    assert logs["d1_loss"] == pytest.approx(expected, rel=1e-5)
    y = Y.copy()
    y[5:] = np.nan
    model.compile(metrics=["mae"], weighted_metrics=["mse"], missing="nan", run_eagerly=True)
    weighted = {"x": X, "y": (y, DY), "sample_weight": np.ones(33)}
    logs = model.evaluate(**weighted, verbose=0, return_dict=True)
    assert logs["mae"] == pytest.approx(np.mean(abs(jet.value - Y)[:5]), rel=1e-5)
    assert logs["mse"] == pytest.approx(np.mean((jet.value - Y)[:5] ** 2), rel=1e-5)
    before = weights_of(model)
    none = (Y * np.nan, DY * np.nan)
    with pytest.raises(ValueError, match="every label is missing"):
        model.fit(X, none, verbose=0)
    # A batch without labels moves nothing.
    history = model.fit(tf.data.Dataset.from_tensors((X, none)), verbose=0).history
    assert history["loss"] == [0.0]
    np.testing.assert_array_equal(before[0], weights_of(model)[0])


@pytest.mark.parametrize("projection", [None, "output", "input"])
@pytest.mark.parametrize("net_dtype", ["mixed_float16", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_perfect_labels_of_any_dtype_have_no_loss(projection, net_dtype, dtype):
    layers = [keras.layers.Dense(n, activation="tanh", dtype=net_dtype) for n in (4, 3)]
    model = compiled(net=keras.Sequential(layers), projection=projection, seed=0)
    model.build((None, 2))
    jet = model.predict_jet(X)
    terms = [a.astype(dtype) for a in (X, jet.value, *jet.derivatives)]
    data = tf.data.Dataset.from_tensors((terms[0], tuple(terms[1:])))
    logs = model.evaluate(data, verbose=0, return_dict=True)
    assert logs["d1_loss"] < (1e-5 if net_dtype == "mixed_float16" else 1e-12)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X.astype("int32"), (Y, DY), r"SobolevModel.fit: x holds int32.*float32"),
        (X, (DY[:, 0], Y), r"label value has shape \[\d\d, 2\], expected \[B, 1\] or \[B\]"),
        (X, (Y, DY[:, :, :1]), r"label d1 has shape \[\d\d, 1, 1\], expected \[B, 1, 2\]"),
        (X, (Y, DY, DY), "3 entries, but order=1 takes at most 2"),
        (X, {"value": Y, "dx": DY}, "unknown name 'dx'"),
        (X, (Y, DY * np.nan), "label d1 has NaN, first in row 0"),
        (X, None, "no labels"),
    ],
)
def test_wrong_data_is_one_clear_line(x, y, message):
    with pytest.raises(ValueError, match=message) as error:
        compiled(run_eagerly=False).fit(x, y, verbose=0)
    assert "\n" not in str(error.value)


def test_wrong_settings_are_named():
    for wrong in ({"projection": "both"}, {"order": -1}, {"projections": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SobolevModel(nets.mlp(2), **wrong)
    with pytest.raises(ValueError, match="loss_weights has 1 entries"):
        compiled(loss_weights=[1.0])
    with pytest.raises(ValueError, match="missing"):
        compiled(missing="drop")
    x = keras.Input([2])
    with pytest.raises(ValueError, match="a net of one output"):
        SobolevModel(keras.Model(x, [keras.layers.Dense(1)(x), keras.layers.Dense(1)(x)]))
    blind = keras.Sequential([keras.Input([2]), keras.layers.Lambda(tf.stop_gradient)])
    with pytest.raises(ValueError, match="no gradient path"):
        compiled(net=keras.Sequential([blind, keras.layers.Dense(1)])).fit(X, (Y, DY), verbose=0)


def test_nan_in_a_data_set_is_found_and_a_diverging_loss_named():
    dy = DY.copy()
    dy[20] = np.nan
    data = tf.data.Dataset.from_tensor_slices((X, (Y, dy))).batch(11)
    with pytest.raises(ValueError, match="label d1 has NaN, first in row 20"):
        compiled().fit(data, verbose=0)
    with pytest.raises(FloatingPointError, match="loss became infinite"):
        compiled().fit(X, (1e30 * Y, DY), batch_size=33, verbose=0)
    endless = targets.Table(np.full_like(X, np.inf), Y, DY).dataset(11)
    with pytest.raises(ValueError, match="x has infinity, first in row 0 "):
        compiled().fit(endless, steps_per_epoch=2, verbose=0)


@pytest.mark.parametrize("batches", [False, True])
def test_nan_in_labels_is_found_in_validation_and_evaluation(batches):
    dy = DY.copy()
    dy[20] = np.nan
    data = tf.data.Dataset.from_tensor_slices((X, (Y, dy))).batch(11) if batches else None
    model, message = compiled(), "label d1 has NaN, first in row 20"
    with pytest.raises(ValueError, match=message):
        model.fit(X, (Y, DY), validation_data=data or (X, (Y, dy)), verbose=0)
    with pytest.raises(ValueError, match=message):
        model.evaluate(data) if batches else model.evaluate(X, (Y, dy))
    model.compile(missing="nan", run_eagerly=True)
    logs = model.fit(X, (Y, DY), validation_data=data or (X, (Y, dy)), verbose=0).history
    assert np.isfinite(logs["val_loss"][0])
