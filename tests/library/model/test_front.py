"""SobolevModel's arguments: projections, Keras's own signatures, and mistakes that are common."""

import inspect

import keras
import numpy as np
import pytest

import sobolev_tf as st
from tests.support.small import DY, X, Y, compiled, smooth

SHORTHAND = {"projections": 2, "contraction": "same", "unbiased": True, "orthogonal": True}


@pytest.mark.parametrize("side", ["output", "input"])
def test_a_projection_is_an_object_or_its_side_with_shorthand(side):
    projection = st.Projection(side, 2, "same", unbiased=True, orthogonal=True, seed=7)
    model = st.SobolevModel(smooth(), projection=projection)
    assert model.projection == projection
    assert st.SobolevModel(smooth(), projection=side, **SHORTHAND, seed=7).projection == projection


def test_a_projection_is_saved_whole(tmp_path):
    projection = st.Projection("output", count=3, seed=2, length=255.0)
    model = compiled(projection=projection)
    model.fit(X, (Y, DY), verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.projection == projection
    logs = (m.evaluate(X, (Y, DY), verbose=0, return_dict=True) for m in (model, again))
    assert next(logs) == pytest.approx(next(logs), rel=1e-6)


@pytest.mark.parametrize("shorthand", [*({k: v} for k, v in SHORTHAND.items()), {"seed": 0}])
def test_shorthand_beside_an_object_is_refused(shorthand):
    with pytest.raises(ValueError, match="projection is a Projection already"):
        st.SobolevModel(smooth(), projection=st.Projection("output"), **shorthand)


def test_arguments_after_the_order_go_by_name():
    with pytest.raises(TypeError, match="positional"):
        st.SobolevModel(smooth(), 1, None)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("model", [st.SobolevModel, st.PolicyDistiller])
def test_signatures_show_all_of_kerass_arguments(method, model):
    ours, kerass = (inspect.signature(getattr(m, method)) for m in (model, keras.Model))
    assert list(ours.parameters) == list(kerass.parameters)


def test_derivatives_beside_the_labels_are_named():
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match=rf"SobolevModel\.{method}: .* {method}\(x, \(y, dy"):
            getattr(compiled(), method)(X, Y, DY)
    student = st.PolicyDistiller(smooth(), smooth())
    student.compile()
    with pytest.raises(ValueError, match=r"PolicyDistiller\.fit: batch_size is a number"):
        student.fit(X, Y, DY)
    assert compiled().fit(X, (Y, DY), np.int64(32), verbose=0).history["loss"]


def test_metrics_of_derivatives_are_jet_metrics():
    with pytest.raises(ValueError, match=r"metrics has 'd1', .* jet_metrics=\[...\] of rmse, r2"):
        compiled(metrics={"value": ["mae"], "d1": ["mae"]})
    for metrics in (["mae"], {"value": ["mae"]}):
        assert "mae" in compiled(metrics=metrics).evaluate(X, Y, verbose=0, return_dict=True)


def test_export_writes_saved_models_only(tmp_path):
    student = st.PolicyDistiller(smooth(), smooth())
    for model in (compiled(), student):
        where = rf"{type(model).__name__}\.export "
        with pytest.raises(ValueError, match=rf"{where}.*'tf_saved_model' only, got 'onnx'"):
            model.export(tmp_path / "saved", format="onnx")
        with pytest.raises(ValueError, match=rf"{where}.*got input_signature=\[\]"):
            model.export(tmp_path / "saved", input_signature=[])
    assert not list(tmp_path.iterdir())


def test_export_prints_the_path_where_verbose_asks(tmp_path, capfd):
    model = compiled()
    model.export(tmp_path / "quiet", format="tf_saved_model", verbose=False)
    assert capfd.readouterr() == ("", "")
    model.export(tmp_path / "saved", verbose=True)
    assert capfd.readouterr() == (f"Wrote a SavedModel to {tmp_path / 'saved'}\n", "")


def test_errors_name_the_class_that_was_called():
    x = keras.Input([3])
    two = keras.Model(x, [keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)])
    for kind in (st.SobolevModel, st.PolicyDistiller):
        with pytest.raises(ValueError, match=f"{kind.__name__} takes a net of one output"):
            kind(two)


def test_labels_and_weights_in_any_form_are_validated_alike():
    weights = {"value": np.zeros(64), "d1": np.ones(64)}
    model = compiled()
    kwargs = {"shuffle": False, "verbose": 0}
    histories = []
    for y in ((Y, DY), {"d1": DY, "value": Y}, [Y, DY]):
        model.fit(X, y, sample_weight=weights, validation_data=(X, y, weights), **kwargs)
        histories.append(model.evaluate(X, y, sample_weight=weights, verbose=0, return_dict=True))
    assert [logs["value_loss"] for logs in histories] == [0, 0, 0]
    assert model.fit(X, (None, DY), **kwargs).history["d1_loss"]
    classes = np.zeros(64, int)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sparse = compiled(loss={"value": entropy})
    for y in (classes, {"value": classes}, (classes, None)):
        assert sparse.fit(X, y, class_weight={0: 0.0}, **kwargs).history["value_loss"] == [0]
        assert sparse.fit(X, y, class_weight={}, **kwargs).history["value_loss"][0] > 0  # none


def test_weights_of_classes_are_for_class_numbers_alone():
    classes = np.zeros(64, int)
    loss = {"value": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    model = compiled(loss=loss)
    for y in (classes, {"value": classes}):
        logs = model.train_on_batch(X, y, class_weight={0: 0.0}, return_dict=True)
        assert float(logs["value_loss"]) == 0
    for method in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="class_weight is for class numbers as the only"):
            method(X, (classes, DY), class_weight={0: 0.0})


def test_a_problem_is_what_evaluate_computes():
    model = compiled(loss_weights=[1.0, 0.5], projection="input", projections=3)
    labels = {"value": Y, "d1": DY, "jvp": Y, "directions": X}
    weight = np.linspace(0, 2, 64, dtype="float32")
    problem = model.problem(X, labels, weight)
    loss = model.evaluate(X, labels, 64, sample_weight=weight, verbose=0, return_dict=True)["loss"]
    assert float(problem.loss()) == pytest.approx(loss, rel=1e-6)
    comparison = problem.compare()
    assert comparison.predicted["d1"].shape == (64 * 3, 2)
    assert comparison.weights["d1"].shape == (64 * 3,)
    assert comparison.predicted["jvp"].shape == (64, 2)
    full = problem.full_terms(comparison.x, 1, problem.directions)
    np.testing.assert_allclose(
        full["d1"], model.predict_jet(X).derivatives[0], rtol=1e-4, atol=1e-6
    )
    with pytest.raises(ValueError, match="label value has NaN"):
        model.problem(X, Y * np.nan)


def test_a_model_can_be_built_again():
    model = compiled()
    model.adapt(X, (Y, DY))
    before = model.predict(X, verbose=0)
    for again in (model, st.SobolevModel.from_config(model.get_config())):
        again.build((None, 3))
        again.build((None, 3))
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)
    with pytest.raises(ValueError, match=r"built for x \[B, 3\] already, .* for \[B, 2\]\.$"):
        model.build((None, 2))


@pytest.mark.parametrize("options", [{}, {"run_eagerly": False, "steps_per_execution": 1}])
def test_weights_count_for_terms_of_a_target(options):
    model = compiled(smooth(), "sgd", target=smooth(), **options)
    weight = np.repeat([0.0, 1.0], 32)
    alone = model.evaluate(X[32:], batch_size=32, verbose=0, return_dict=True)
    for given in (weight, {"value": weight, "d1": weight}):
        logs = [
            model.evaluate(X, sample_weight=given, batch_size=64, verbose=0, return_dict=True),
            model.test_on_batch(X, None, given, return_dict=True),
        ]
        for log in logs:
            for term in ("value_loss", "d1_loss"):  # means over all rows, half of weight 0
                assert float(log[term]) == pytest.approx(alone[term] / 2, rel=1e-5)


def of_two_inputs(**options):
    inputs = {name: keras.Input(X.shape[1:], name=name) for name in ("a", "b")}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    net = keras.Model(inputs, keras.layers.Dense(2, "tanh")(joined))
    return compiled(net, wrt=["a", "b"], **options)


def test_weights_count_for_labels_that_come_by_input():
    model = of_two_inputs()
    x = {"a": X, "b": X}
    y = {"value": Y, "d1": {"a": DY, "b": DY}}
    whole = {"value": Y, "d1": np.concatenate([DY, DY], -1)}
    weight = np.linspace(0, 2, 64, dtype="float32")
    for given in (weight, {"value": weight, "d1": weight}):
        expected = model.evaluate(x, whole, sample_weight=given, verbose=0, return_dict=True)
        logs = model.evaluate(x, y, sample_weight=given, verbose=0, return_dict=True)
        assert logs["d1_loss"] == pytest.approx(expected["d1_loss"], rel=1e-5)
        batch = model.test_on_batch(x, y, given, return_dict=True)
        assert float(batch["d1_loss"]) == pytest.approx(expected["d1_loss"], rel=1e-5)


@pytest.mark.parametrize("projection", [None, "input", "output"])
def test_labels_by_input_that_are_known_in_part_are_as_one_array(projection):
    model = of_two_inputs(projection=projection, seed=0, missing="nan")
    a, b = np.ones([2, 64, 2, X.shape[1]], "float32")
    a[0, 1, 1] = np.nan
    ways = []
    for d1 in (np.concatenate([a, b], -1), {"a": a, "b": b}):
        try:
            ways.append(model.evaluate({"a": X, "b": X}, {"d1": d1}, verbose=0))
        except ValueError as error:
            ways.append(str(error))
    assert ways[0] == ways[1]
    assert isinstance(ways[0], str) == (projection is not None)


@pytest.mark.parametrize("weights", [{0: -1.0}, {"0": 1.0}, [1.0]])
def test_weights_of_classes_are_checked_on_batches(weights):
    loss = {"value": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    with pytest.raises(ValueError, match=r"^SobolevModel.train_on_batch: .*class_weight"):
        compiled(loss=loss).train_on_batch(X, np.zeros(64, int), class_weight=weights)
