"""SobolevModel does what Keras's own models do: modes, saving, precision, replicas, any net."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import PolicyDistiller, SobolevModel, losses, nets, projections, targets
from sobolev_tf.keras_support import array_batches
from tests.support.cases import slow
from tests.support.curve import DY, X, Y, assert_same_weights, compiled

# Keras's own save calls np.array on a variable in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def fixed_directions(like, projections, seed, radius, orthogonal=False):
    one = tf.ones_like(like)[:, None]
    return tf.concat([one * math.cos(p) for p in range(projections)], 1)


def test_compute_loss_may_be_overridden_with_the_arguments_of_keras():
    class Shifted(SobolevModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return super().compute_loss(x, y, y_pred, sample_weight, training) + 1.0

    model = Shifted(nets.mlp(2, Y.shape[1], hidden=[4], activation="tanh"))
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.fit(X, (Y, DY), verbose=0).history
    expected = logs["value_loss"][0] + logs["d1_loss"][0] + 1
    assert logs["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_structures_of_labels_and_weights_are_the_same_fit():
    ones = np.linspace(0, 2, 33, dtype="f")
    data = tf.data.Dataset.from_tensor_slices((X, {"d1": DY[:, 0], "value": Y[:, 0]}, ones))
    by_name = {"d1": DY, "value": Y}
    ways = [
        {"x": X, "y": (Y, DY), "sample_weight": ones},
        {"x": X, "y": by_name, "sample_weight": dict.fromkeys(by_name, ones)},
        {"x": data.batch(33)},
    ]
    models = []
    for way in ways:
        keras.utils.set_random_seed(0)
        models.append(compiled(loss=["mse", losses.Norm()], metrics=["mae"], run_eagerly=False))
        history = models[-1].fit(**way, batch_size=33, epochs=2, verbose=0).history
        assert set(history) == {"loss", "value_loss", "d1_loss", "mae"}
        assert history["loss"][1] < history["loss"][0]
    assert_same_weights(models[0], models[1])
    assert_same_weights(models[0], models[2], rtol=1e-6)


@pytest.mark.parametrize("projection", [*slow(None, "input"), "output"])
def test_eager_graph_and_xla_take_the_same_steps(projection, monkeypatch):
    # XLA draws other directions from the same seed, so all modes get fixed ones.
    monkeypatch.setattr(projections, "sphere", fixed_directions)
    monkeypatch.setattr(array_batches, "_XLA_WORK", 0)
    drawn = {"projection": projection, "projections": 2} if projection else {}
    models, order = [], 2 if projection == "input" else 1
    for mode in ({"run_eagerly": False}, {"run_eagerly": True}, {"jit_compile": True}):
        keras.utils.set_random_seed(0)
        models.append(compiled(order, **drawn, **mode))
        y = (Y, DY, np.zeros([33, 1, 2, 2], "f"))[: order + 1]
        models[-1].fit(X, y, batch_size=33, epochs=2, verbose=0)
    for model in models[1:]:
        assert_same_weights(models[0], model, rtol=1e-4, atol=1e-5)


def test_validation_evaluation_and_values_only():
    model = compiled(metrics=["mae"])
    history = model.fit(X, (Y, DY), validation_data=(X, (Y, DY)), verbose=0).history
    everything = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
    assert everything == {k[4:]: pytest.approx(v[0]) for k, v in history.items() if "val_" in k}
    values = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert set(values) == {"loss", "value_loss", "mae"}
    assert values["mae"] == pytest.approx(np.mean(abs(model.predict(X, verbose=0) - Y)))
    jet = model.predict_jet(X, batch_size=10)
    assert (jet.value.shape, jet.derivatives[0].shape) == ((33, 1), (33, 1, 2))
    assert everything["d1_loss"] == pytest.approx(
        np.mean(np.sum((jet.derivatives[0] - DY) ** 2, (1, 2))), rel=1e-5
    )


def test_a_generator_trains_without_a_warning():
    batches = ((X, (Y, DY)) for _ in range(4))
    assert compiled().fit(batches, steps_per_epoch=2, verbose=0).history["loss"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_generators_and_pydatasets_go_keras_s_way(dtype):
    """No batch of a generator is lost, a PyDataset is shuffled, and labels may be lists."""
    seen = []

    class Net(SobolevModel):
        def train_step(self, data):
            seen.append(int(data[0][0, 0]))
            return super().train_step(data)

    def batch(i):
        x, y, dy = (a[:3].astype(dtype) for a in (X, Y, DY))
        x[:] = i
        return x, [y, dy]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 12

        def __getitem__(self, i):
            return batch(i)

    model = Net(nets.mlp(2, Y.shape[1], hidden=[4], activation="tanh", dtype=dtype))
    model.compile("sgd", run_eagerly=True)
    model.fit(map(batch, range(4)), steps_per_epoch=4, verbose=0)
    assert seen == [0, 1, 2, 3]
    seen.clear()
    model.fit(Batches(workers=1), verbose=0)
    assert sorted(seen) == list(range(12)) != seen


def test_the_row_of_a_pydatasets_last_batch_is_counted_from_full_batches():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            y = np.zeros([2 if i == 2 else 4, 1], "f")
            y[1] = math.nan if i == 2 else 0
            return np.zeros([len(y), 2], "f"), y

    model = SobolevModel(nets.mlp(2, hidden=[4]))
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"row 9 .*batch 2"):
        model.fit(Batches(workers=1), shuffle=False, verbose=0)


def test_metrics_of_a_layer_inside_are_logged_and_reset():
    class Watched(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.mean = keras.metrics.Mean(name="act")

        def call(self, x):
            self.mean.update_state(2 * x)
            return x

    net = keras.Sequential([keras.Input([2]), Watched(), keras.layers.Dense(1)])
    model = SobolevModel(net)
    model.compile("sgd")
    history = model.fit(X, (Y[:, :1], DY[:, :1]), epochs=2, verbose=0).history
    np.testing.assert_allclose(history["act"], 2 * np.mean(X), rtol=1e-4)


def test_predict_takes_the_arguments_of_keras_in_their_order():
    model = compiled()
    np.testing.assert_array_equal(model.predict(X, 3, 0), model.predict(X, verbose=0))


@pytest.mark.parametrize("projection", [*slow(None), "output", "input"])
def test_a_saved_model_goes_on_exactly(tmp_path, projection):
    teacher = targets.Teacher(nets.mlp(2, hidden=[8], activation="tanh"))
    model = compiled(
        target=teacher, projection=projection, loss={"d1": losses.Norm()}, loss_weights=[1, 2]
    )
    model.fit(X, batch_size=11, epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for ours, theirs in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for ours, theirs in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for each in (model, again):
        each.fit(X, batch_size=11, shuffle=False, verbose=0)
    assert_same_weights(model, again, rtol=1e-5, atol=1e-7)  # threads may sum in any order
    assert again.optimizer.iterations == 9


def test_half_precision_scales_the_loss(tmp_path):
    net = keras.Sequential(
        [
            keras.Input([2]),
            keras.layers.Dense(8, "tanh", dtype="mixed_float16"),
            keras.layers.Dense(1, dtype="mixed_float16"),
        ]
    )
    model = compiled(net=net)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    history = model.fit(X, (Y, DY), epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.optimizer.iterations == model.optimizer.iterations > 0


def test_two_replicas_take_one_process_s_steps(two_replicas):
    models = []
    for scope in (two_replicas.scope(), tf.device(None)):
        keras.utils.set_random_seed(0)
        with scope:
            model = compiled(optimizer=keras.optimizers.SGD(0.1), loss_weights=[1.0, 0.5])
        data = tf.data.Dataset.from_tensor_slices((X[:32], (Y[:32], DY[:32]))).batch(16)
        history = model.fit(data, epochs=2, verbose=0).history
        models.append((model, history["loss"][-1]))
    assert_same_weights(models[0][0], models[1][0], rtol=1e-5, atol=1e-6)
    assert models[0][1] == pytest.approx(models[1][1], rel=1e-5)


def test_replicas_look_along_directions_of_their_own(two_replicas):
    with two_replicas.scope():
        model = compiled(projection="input", seed=3)

    @tf.function
    def drawn():
        return two_replicas.run(
            lambda: model._kind_of_derivatives(True).directions(tf.zeros([1, 2]), 0)
        )

    first, second = (v.numpy() for v in two_replicas.experimental_local_results(drawn()))
    assert abs(first - second).max() > 1e-3
    model.fit(X, (Y, DY), batch_size=32, verbose=0)  # the last batch leaves one replica empty


@keras.saving.register_keras_serializable(package="sobolev_tf_tests")
class OfOneArray(keras.Model):
    """A subclass: Keras learns its shapes only when it is built."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.out = keras.layers.Dense(6, "tanh"), keras.layers.Dense(3)

    def call(self, x):
        return self.out(self.hidden(x))


def test_a_model_of_a_subclassed_net_is_saved_with_its_scaling(tmp_path):
    regression = SobolevModel(OfOneArray())
    regression.compile("sgd")
    labels = np.repeat(Y, 3, 1), np.repeat(DY, 3, 1)
    regression.adapt(100 * X, labels)
    policy = PolicyDistiller(OfOneArray(), alpha=0)
    policy.compile("sgd")
    policy.fit(X, np.repeat(Y, 3, 1), verbose=0)
    for model, x in ((regression, 100 * X), (policy, X)):
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        for true, again in zip(model.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(again, true)
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_compute_loss_of_the_nets_output_is_refused_in_one_line():
    model = compiled()
    output = model(X)
    with pytest.raises(ValueError, match=r"^SobolevModel.compute_loss compares .*train_on_batch"):
        model.compute_loss(X, Y, output)


def test_a_net_may_be_unbuilt_or_a_subclass_without_a_training_argument():
    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, kernel_regularizer="l2")

        def call(self, x):
            return self.dense(tf.sin(x))

    for net in (Plain(), keras.Sequential([keras.layers.Dense(1)])):
        model = compiled(net=net)
        assert np.isfinite(model.fit(X, (Y, DY), verbose=0).history["loss"][0])
        assert model.predict_jet(X).derivatives[0].shape == (33, 1, 2)
    logs = compiled(net=Plain()).fit(X, (Y, DY), batch_size=33, verbose=0).history
    assert logs["loss"][0] > logs["value_loss"][0] + logs["d1_loss"][0]  # the regularization
