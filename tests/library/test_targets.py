"""targets: where labels come from."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf import jets, nets, targets
from sobolev_tf.keras_support import export


def teacher_net():
    return keras.Sequential(
        [keras.Input([2]), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    )


def test_tabulate_in_batches_and_without_rows():
    x = np.random.default_rng(0).normal(size=[7, 2]).astype("f")
    y, d1, d2 = targets.tabulate(lambda x: x**2, x, order=2, batch_size=3)
    np.testing.assert_allclose(y, x**2)
    np.testing.assert_allclose(d1, 2 * x[:, :, None] * np.eye(2), rtol=1e-6)
    assert d2.shape == (7, 2, 2, 2)
    assert targets.tabulate(lambda x: x**2, x[:0])[1].shape == (0, 2, 2)


def test_tabulate_a_black_box():
    x = np.random.default_rng(0).normal(size=[7, 2])
    target = targets.FiniteDifferences(lambda x: x**3)
    for rows in (7, 2, 0):
        y, d1, d2 = targets.tabulate(target, x[:rows], order=2, batch_size=3)
        np.testing.assert_allclose(y, x[:rows] ** 3)
        np.testing.assert_allclose(d1, 3 * x[:rows, :, None] ** 2 * np.eye(2), atol=1e-8)
        assert d2.shape == (rows, 2, 2, 2)


def test_tabulate_traces_once_or_runs_eagerly():
    x, traced = np.ones([7, 2], "f"), []

    def noted(x):
        traced.append(tf.executing_eagerly())
        return x**2

    targets.tabulate(noted, x, batch_size=2)
    assert traced == [False]

    def eager_only(x):
        return x * float(tf.reduce_max(x))

    with_tape = targets.tabulate(eager_only, 3 * x, batch_size=3)[1]
    np.testing.assert_allclose(with_tape, np.broadcast_to(3 * np.eye(2), [7, 2, 2]))
    with pytest.raises(ValueError, match="no output depends on x"):
        targets.tabulate(tf.ones_like, x, batch_size=3)


def test_tabulate_shows_the_time_left(capsys, monkeypatch):
    x = np.ones([7, 2], "f")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    targets.tabulate(tf.sin, x, batch_size=2)
    assert "4/4" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    targets.tabulate(tf.sin, x, batch_size=2, verbose=1)
    assert "4/4" in capsys.readouterr().out
    for quiet in ({"batch_size": 2}, {"batch_size": 2, "verbose": 0}, {"verbose": 1}):
        targets.tabulate(tf.sin, x, **quiet)
    assert not capsys.readouterr().out


def test_tabulate_takes_one_array():
    x = np.ones([4, 2], "f")
    for wrong, kind in (({"a": x}, "dict"), ((x, x), "tuple"), ([x, x], "list"), (1.0, "float")):
        with pytest.raises(ValueError, match=rf"one array x \[B,\*in\], got a {kind}"):
            targets.tabulate(tf.sin, wrong)
    with pytest.raises(ValueError, match="batch_size is a whole number of at least 1, got 0"):
        targets.tabulate(tf.sin, x, batch_size=0)


def test_a_table_keeps_rows_together():
    x = np.arange(10, dtype="f")[:, None]
    table = targets.Table(x, x, 2 * x)
    for batch, (y, dy) in table.dataset(4, seed=1).take(6):
        assert batch.shape == (4, 1)
        np.testing.assert_array_equal(batch, y)
        np.testing.assert_array_equal(2 * batch, dy)
    with pytest.raises(ValueError, match="d1 has 9"):
        targets.Table(x, x, x[1:])


def test_a_teacher_is_frozen_for_good():
    net = teacher_net()
    teacher = targets.Teacher(net)
    holder = keras.Sequential([keras.Input([2]), teacher])
    holder.trainable = True
    before = net.get_weights()
    teacher(np.ones([3, 2], "f"), training=True)
    assert not holder.trainable_variables
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_target_is_saved_only_if_its_code_can_be_found_again():
    assert targets.serialize(targets.Function(lambda x: x)) is None
    assert targets.serialize(None) is None
    config = targets.serialize(targets.Teacher(teacher_net()))
    assert isinstance(keras.saving.deserialize_keras_object(config), targets.Teacher)
    assert targets.Function(tf.sin)([0.0]).shape == [1]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A net, and its SavedModels: with the library's signatures, Keras's, and a twin's of two."""
    net, folder = nets.mlp(2, 3, hidden=[8], activation="tanh"), tmp_path_factory.mktemp("saved")
    export.export_network(net, folder / "plain")
    archive = keras.export.ExportArchive()
    archive.track(net)
    spec = tf.TensorSpec([None, 2], name="x")
    archive.add_endpoint("serving_default", lambda x: {"value": net(x)}, input_signature=[spec])
    archive.write_out(folder / "jets", verbose=False)
    x = keras.Input([2])
    two = keras.Model(x, {"policy": net(x), "baseline": keras.layers.Dense(1)(x)})
    export.export_network(two, folder / "two")
    return net, folder


@pytest.mark.parametrize(
    ("name", "as_model", "output"),
    [("plain", str, None), ("two", Path, "policy"), ("jets", tf.saved_model.load, None)],
)
def test_a_saved_model_teaches(saved, name, as_model, output):
    net, folder = saved
    teacher = targets.Teacher(as_model(str(folder / name)), output)
    x = tf.constant(np.random.default_rng(0).normal(size=[5, 2]), tf.float32)
    true = jets.jet(net, x, 2)
    for dtype in (tf.float32, tf.float64):  # the second is cast to what was saved
        result = jets.jet(teacher, tf.cast(x, dtype), 2)
        assert len(result.derivatives) == 2
        for a, b in zip(keras.tree.flatten(result), keras.tree.flatten(true), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    teacher.trainable = True
    assert not teacher.trainable_weights
    assert keras.Sequential([keras.Input([2]), teacher]).output_shape == (None, 3)
    tabulated = targets.tabulate(teacher, x, batch_size=2)[1]
    np.testing.assert_allclose(tabulated, true.derivatives[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("as_model", [str, Path, tf.saved_model.load])
def test_a_saved_model_is_a_teacher_wherever_a_teacher_is_taken(saved, as_model):
    net, folder = saved
    model = as_model(str(folder / "plain"))
    student = nets.mlp(2, 3, hidden=[4])
    distiller = st.PolicyDistiller(student, model)
    distiller.target = model
    regression = st.SobolevModel(student, target=model)
    regression.target = model
    x = np.ones([1, 2], "float32")
    for made in (distiller, regression):
        np.testing.assert_allclose(made.target(x), net(x), rtol=1e-6)


def test_a_saved_model_keeps_its_path(saved, tmp_path):
    _, folder = saved
    teacher = targets.Teacher(folder / "two", output="baseline")
    config = targets.serialize(teacher)
    assert config["config"]["model"]["config"]["filepath"] == str(folder / "two")
    with pytest.raises(ValueError, match="safe_mode=False"):
        keras.saving.deserialize_keras_object(config)
    again = keras.saving.deserialize_keras_object(config, safe_mode=False)
    x = np.ones([1, 2], "f")
    np.testing.assert_array_equal(again(x), teacher(x))
    assert again.get_config() == teacher.get_config()
    holder = keras.Sequential([keras.Input([2]), teacher])
    holder.save(tmp_path / "holder.keras")
    again = keras.models.load_model(tmp_path / "holder.keras", safe_mode=False)
    np.testing.assert_array_equal(again(x), teacher(x))
    config["config"]["model"] = str(folder / "two")
    with pytest.raises(ValueError, match="expected a Keras model"):
        keras.saving.deserialize_keras_object(config)
    assert targets.serialize(targets.Teacher(tf.saved_model.load(str(folder / "plain")))) is None


def test_a_saved_model_that_cannot_teach(saved, tmp_path):
    _, folder = saved
    with pytest.raises(ValueError, match=r"no SavedModel at .*nowhere: give a directory"):
        targets.Teacher(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"outputs \['baseline', 'policy'\]: choose one"):
        targets.Teacher(folder / "two")
    with pytest.raises(ValueError, match="got output='value'"):
        targets.Teacher(folder / "two", output="value")
    bare = tf.Module()
    tf.saved_model.save(bare, str(tmp_path / "bare"))
    for model in (tmp_path / "bare", tf.saved_model.load(str(tmp_path / "bare"))):
        with pytest.raises(ValueError, match="serving_default"):
            targets.Teacher(model)
    a, b = keras.Input([1], name="a"), keras.Input([1], name="b")
    both = keras.Model([a, b], keras.layers.Add()([a, b]))
    export.export_network(both, tmp_path / "both")
    with pytest.raises(ValueError, match=r"one input, got the inputs \['a', 'b'\]"):
        targets.Teacher(tmp_path / "both")


def test_one_output_of_a_keras_teacher():
    x = keras.Input([2])
    both = keras.Model(x, [keras.layers.Dense(3)(x), keras.layers.Dense(1)(x)])
    assert targets.Teacher(both, output=1)(np.ones([4, 2], "f")).shape == (4, 1)
    with pytest.raises(ValueError, match=r"outputs \[0, 1\]: choose one, got output=None"):
        targets.Teacher(both)(np.ones([4, 2], "f"))


def test_masked_labels_of_a_table_are_missing():
    x, y = np.zeros([4, 2]), np.ma.masked_equal([[1.0], [2.0], [9.0], [4.0]], 9.0)
    _, (labels,) = next(iter(targets.Table(x, y).dataset(4)))
    assert np.isnan(labels).sum() == 1
    assert np.nanmax(labels) == 4
    with pytest.raises(ValueError, match="Table: x is masked, first in row 2"):
        targets.Table(y, x)
