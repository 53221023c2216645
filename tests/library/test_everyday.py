"""What users do in passing: compiled teachers, weights by name, splits, forces, wrong shapes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf import losses
from sobolev_tf.model import objective, scaling

RNG = np.random.default_rng(0)
X = RNG.normal(size=[60, 2]).astype("float32")
Y = RNG.normal(size=[60, 1]).astype("float32")
DY = RNG.normal(size=[60, 1, 2]).astype("float32")


def net(inputs=2, outputs=1):
    return st.nets.mlp(inputs, outputs, hidden=[8], activation="tanh")


def compiled(a_net=None, target=None, **options):
    model = st.SobolevModel(a_net or net(), target=target)
    # Eager steps are faster than a trace; test_model.py compares the two.
    model.compile("adam", **{"run_eagerly": True} | options)
    return model


def test_a_compiled_teacher_keeps_its_metrics_to_itself(tmp_path):
    teacher = net()
    teacher.compile("adam", "mse", metrics=["mae"])
    teacher.fit(X, Y, verbose=0)
    model = compiled(target=st.targets.Teacher(teacher))
    history = model.fit(X, verbose=0).history
    assert set(history) == {"loss", "value_loss", "d1_loss"}
    assert history["loss"][0] == pytest.approx(history["value_loss"][0] + history["d1_loss"][0])
    model.save(tmp_path / "student.keras")
    again = keras.models.load_model(tmp_path / "student.keras")
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations)
    np.testing.assert_allclose(again.evaluate(X, verbose=0), model.evaluate(X, verbose=0))


def test_a_compiled_net_does_too():
    inner = net()
    inner.compile("sgd", "mse")
    assert compiled(inner).fit(X, (Y, DY), verbose=0).history["loss"][0] > 0


@pytest.mark.parametrize("fit", [{}, {"steps_per_epoch": 2}])
@pytest.mark.parametrize(
    "y", [(Y, DY), {"value": Y, "d1": DY}, {"value": Y, "jvp": Y, "directions": X}]
)
def test_weights_by_name_on_either_way_in(y, fit):
    model = compiled()
    weights = {"value": np.zeros(60)}
    assert model.fit(X, y, sample_weight=weights, verbose=0, **fit).history["value_loss"] == [0]
    logs = model.evaluate(X, y, sample_weight=weights, verbose=0, return_dict=True)
    assert logs["value_loss"] == 0
    assert logs["loss"] > 0


def test_a_share_is_held_out_before_arrays_are_repeated():
    x = np.concatenate([X[:48], np.full([12, 2], 5.0, "float32")])
    model = compiled()
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.fit(x, (Y, DY), steps_per_epoch=3, validation_split=0.2, verbose=0).history
    held_out = model.evaluate(x[48:], (Y[48:], DY[48:]), verbose=0, return_dict=True)
    assert logs["val_loss"][0] == pytest.approx(held_out["loss"], rel=1e-5)
    with pytest.raises(
        ValueError, match=r"Model\.fit: validation_split=0\.999 leaves none of 60 rows"
    ):
        model.fit(x, (Y, DY), steps_per_epoch=3, validation_split=0.999, verbose=0)


class _CountTests(keras.callbacks.Callback):
    batches = 0

    def on_test_batch_end(self, batch, logs=None):
        self.batches += 1


WAYS = {
    "on the device": ({}, {}),
    "Keras's": ({"steps_per_execution": 1}, {}),
    "endless data set": ({"steps_per_execution": 1}, {"steps_per_epoch": 3}),
    "eager": ({"run_eagerly": True}, {"steps_per_epoch": 3}),
}


@pytest.mark.parametrize(
    ("way", "dtype"), [*((way, "float32") for way in WAYS), ("Keras's", "float64")]
)
def test_validation_data_goes_before_a_share_which_has_its_own_batch_size(way, dtype):
    compiled_with, fitted_with = WAYS[way]
    x, y, dy = (a.astype(dtype) for a in (X, Y, DY))
    model = st.SobolevModel(st.nets.mlp(2, hidden=[4], dtype=dtype))
    model.compile(keras.optimizers.SGD(0.0), **compiled_with)

    def fit(**passed):
        counted = _CountTests()
        logs = model.fit(
            x, (y, dy), 20, callbacks=[counted], validation_split=0.5, verbose=0,
            validation_batch_size=10, **fitted_with, **passed,
        )  # fmt: skip
        return logs.history["val_loss"][0], counted.batches

    def loss(x, y):
        return pytest.approx(model.evaluate(x, y, verbose=0, return_dict=True)["loss"], rel=1e-5)

    assert fit() == (loss(x[30:], (y[30:], dy[30:])), 3)
    far = x[:20], (y[:20] + 100, dy[:20])
    assert fit(validation_data=far) == (loss(*far), 2)


@pytest.mark.parametrize("shape", [[60], [60, 1], [60, 3], [60, 1, 1]])
def test_points_of_another_shape_are_refused_not_broadcast(shape):
    x = np.ones(shape, "float32")
    for use in (
        lambda m: m.fit(x, (Y, DY), verbose=0),
        lambda m: m.predict(x, verbose=0),
        lambda m: m.predict_jet(x),
    ):
        with pytest.raises(ValueError, match=r"x has shape .* expected \[B, 2\]"):
            use(compiled())


def test_free_axes_are_named():
    free = keras.Sequential([keras.Input([None, 3]), keras.layers.GlobalAveragePooling1D()])
    with pytest.raises(ValueError, match=r"\[B, \?, 3\]"):
        st.SobolevModel(free)


def test_a_missing_entry_takes_no_part_in_a_relative_norm():
    term = objective.Objective(0, losses.RelativeNorm(), missing="nan").term
    label = tf.constant([[3.0, np.nan]])
    assert [float(term("value", label, tf.constant([[6.0, p]]))) for p in (0.0, 400.0)] == [1, 1]


def test_metrics_of_partly_labeled_rows():
    """Only df/dx1 is known: rmse and cosine are of that entry alone."""
    model = compiled(missing="nan", jet_metrics=["rmse", "cosine"])
    partly = DY.copy()
    partly[:, 0, 1] = np.nan
    partly[::2] = np.nan
    logs = model.evaluate(X, (Y, partly), verbose=0, return_dict=True, batch_size=60)
    predicted, true = model.predict_jet(X).derivatives[0][1::2, 0, 0], partly[1::2, 0, 0]
    assert logs["d1_rmse"] == pytest.approx(np.sqrt(np.mean((predicted - true) ** 2)), rel=1e-5)
    assert logs["d1_cosine"] == pytest.approx(np.mean(np.sign(predicted * true)), rel=1e-5)


def test_r2_of_labels_that_come_later():
    model = compiled(jet_metrics=["r2"])
    assert set(model.fit(X, Y, verbose=0).history) == {"loss", "value_loss", "value_r2"}
    assert "d1_r2" in model.fit(X, (Y, DY), verbose=0).history
    assert "d1_r2" in model.evaluate(X, (Y, DY), verbose=0, return_dict=True)


def test_adapt_takes_whole_numbers_of_the_outputs_shape_for_values():
    y = RNG.integers(0, 100, [60, 3])
    model = st.SobolevModel(net(outputs=3))
    model.adapt(X, (y, np.repeat(DY, 3, 1)))
    np.testing.assert_allclose(model.scaling.value_mean, y.mean(0), rtol=1e-5)


def test_adapt_keeps_the_geometry_of_points_of_more_axes():
    x = RNG.normal([0.0, 5.0, 9.0], [1.0, 2.0, 3.0], [50, 4, 3]).astype("float32")
    energy = keras.Sequential([keras.Input([4, 3]), keras.layers.Flatten(), keras.layers.Dense(1)])
    model = st.SobolevModel(energy)
    model.adapt(x, (np.zeros([50, 1]), np.ones([50, 1, 4, 3])))
    np.testing.assert_allclose(model.scaling.mean, np.full([4, 3], x.mean()), rtol=1e-4)
    np.testing.assert_allclose(model.scaling.deviation, np.full([4, 3], x.std()), rtol=1e-4)


@pytest.mark.parametrize("size", [1e5, 1e-8])
def test_half_precision_answers_in_any_units(size, tmp_path):
    inputs = keras.Input([2])
    half = keras.layers.Dense(8, "tanh", dtype="mixed_float16")(inputs)
    model = st.SobolevModel(keras.Model(inputs, keras.layers.Dense(1, dtype="mixed_float16")(half)))
    model.adapt(X, (size * Y, size * DY))
    model.export(tmp_path / "saved")
    saved, x = tf.saved_model.load(str(tmp_path / "saved")).signatures, tf.constant(X)
    gradient = model.predict_jet(X).derivatives[0][:, 0]
    assert 0 < np.abs(gradient).max() / size < 100
    near = {"rtol": 0.02, "atol": 0.01 * size}
    np.testing.assert_allclose(saved["jet"](x=x)["d1"][:, 0], gradient, **near)
    np.testing.assert_allclose(saved["vjp"](x=x, u=tf.ones([60, 1]))["vjp"], gradient, **near)
    along = saved["jvp"](x=x, v=tf.ones([60, 2]))["jvp"][:, 0]
    np.testing.assert_allclose(along, gradient.sum(1), **near)


def test_vjp_of_no_direction_is_zero():
    identity = scaling.Scaling()
    identity.build(((2,), (1,)))
    _, gradient = scaling.UnscaledFunction(net(), identity).vjp(tf.constant(X), tf.zeros([60, 1]))
    np.testing.assert_array_equal(gradient, np.zeros([60, 2]))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: st.jet(net(), {"a": X, "b": X}), "close over the inputs that stay"),
        (lambda: st.jet(net(), [X, Y]), "close over the inputs that stay"),
        (lambda: compiled().predict_jet(st.targets.Table(X, Y).dataset(7)), "has no end"),
        (lambda: compiled().predict_jet(X, batch_size=0), "at least 1"),
        (lambda: st.SobolevModel(net(), wrt=0), "name of an input"),
        (lambda: st.SobolevModel(net(), wrt=["a", "a"]), "twice"),
        (lambda: compiled(loss_weights={"directions": 1}), "unknown name 'directions'"),
        (lambda: compiled(target=net(2, 3)).fit(X, verbose=0), "need the same outputs"),
    ],
)
def test_bad_input_is_named(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_forgotten_inputs_are_named():
    a, b = keras.Input([2], name="a"), keras.Input([1], name="b")
    two = keras.Model([a, b], keras.layers.Dense(1)(keras.layers.Concatenate()([a, b])))
    model = st.SobolevModel(two, wrt="a")
    model.compile("adam")
    with pytest.raises(ValueError, match="x is one array: the net takes a, b"):
        model.fit(X, (Y, DY), verbose=0)


def test_a_dataset_that_diverges_says_so():
    target = st.targets.Function(lambda x: tf.reduce_sum(x, 1, keepdims=True) * 1e30)
    model = st.SobolevModel(net(), target=target)
    model.compile(keras.optimizers.SGD(1e30))
    with pytest.raises(FloatingPointError):
        model.fit(tf.data.Dataset.from_tensor_slices((X,)).batch(7), verbose=0)


def test_a_metric_of_a_term_is_a_jet_metric():
    model = st.SobolevModel(st.nets.mlp(2))
    with pytest.raises(ValueError, match=r"has 'd1_rmse'.*: jet_metrics=\['rmse'\] has it"):
        model.compile("adam", metrics=["d1_rmse"])
