"""Streams: no step takes a batch that is not right, however steps are run, and `fit` goes on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import DecoupledModel, SobolevModel, nets, split
from sobolev_tf.keras_support import watched_data
from sobolev_tf.synthetic import dense_critic

X = np.random.default_rng(0).uniform(-1, 1, [16, 2]).astype("float32")
Y = np.sum(X**2, 1, keepdims=True)
DY = 2 * X[:, None]
ONES = np.ones(16, "float32")


def spoilt(array, value, row=11):
    array = np.array(array)
    array[row] = value
    return array


def stream(x=X, y=Y, dy=DY, weight=ONES):
    return tf.data.Dataset.from_tensor_slices((x, (y, dy), weight)).batch(4)


def compiled(decay=None, **options):
    model = SobolevModel(nets.mlp(2, hidden=[4], activation="tanh"))
    model.compile(keras.optimizers.SGD(0.01, weight_decay=decay), **options)
    return model


def weights_after(steps, model, seed):
    """The weights after so many steps on right batches, from the weights `seed`."""
    model.set_weights(seed)
    model.fit(stream().take(steps), verbose=0)
    return model.get_weights()


def assert_same(ones, others):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({}, 2),
        ({"steps_per_execution": 3}, 2),
        ({"steps_per_execution": 2, "jit_compile": True}, 2),
        ({"run_eagerly": True}, 2),
    ],
)
def test_the_weights_are_those_before_the_wrong_batch(options, taken):
    model = compiled(decay=0.1, **options)
    start = model.get_weights()
    with pytest.raises(ValueError, match=r"fit: x has NaN, first in row 11 \(batch 2\)"):
        model.fit(stream(spoilt(X, np.nan)), verbose=0)
    left = model.get_weights()
    plain = compiled(decay=0.1)
    assert_same([np.float32(taken)], [np.float32(model.optimizer.iterations)])
    for one, other in zip(left, weights_after(taken, plain, start), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert np.isfinite(model.fit(stream(), verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": spoilt(Y, np.inf)}, "label value has infinity, first in row 11 (batch 2)"),
        ({"dy": spoilt(DY, np.nan)}, "label d1 has NaN, first in row 11 (batch 2)"),
        ({"weight": spoilt(ONES, -1)}, "sample_weight (batch 2) is -1 in row 11"),
        ({"weight": spoilt(ONES, np.nan)}, "sample_weight (batch 2) has NaN, first in row 11"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "evaluate", "validation"])
def test_everything_in_a_stream_is_looked_at(given, message, method):
    model, data = compiled(), stream(**given)
    call = model.evaluate if method == "evaluate" else model.fit
    passed = ((X, (Y, DY)), {"validation_data": data}) if method == "validation" else ((data,), {})
    with pytest.raises(ValueError) as error:
        call(*passed[0], verbose=0, **passed[1])
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_right_streams_pass_unchanged():
    ragged = tf.data.Dataset.from_tensor_slices((X, (Y, DY)))
    mapped = stream().map(lambda *batch: batch)
    for data in (stream(), ragged.batch(3), stream().repeat().take(6), mapped, mapped.repeat(2)):
        model = compiled()
        guarded = model._gate("fit").stream(data).data
        assert guarded.cardinality() == data.cardinality()
        for one, other in zip(data, guarded, strict=True):
            assert_same(keras.tree.flatten(one), keras.tree.flatten(other))


def test_numbers_whose_sum_overflows_are_right():
    large = np.full([16, 1], 3e38, "float32")
    data = tf.data.Dataset.from_tensor_slices((X, large)).batch(4)
    guarded = compiled()._gate("fit").stream(data).data
    assert len(list(guarded)) == 4


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_function_that_spoils_right_rows(method):
    """In every part of a batch, whatever the numbers of weights are."""

    def spoil(x, y, weight, part):
        wrong = tf.reduce_any(x == X[11])
        batch = [x, *y, weight]
        bad = tf.constant(-1 if part == 3 else np.nan, batch[part].dtype)
        batch[part] = tf.where(wrong, bad, batch[part])
        return batch[0], tuple(batch[1:3]), batch[3]

    model = compiled()
    for weight in (ONES, ONES.astype("int32"), ONES.astype("float16")):
        for part, name in enumerate(("x", "label value", "label d1", "sample_weight")):
            data = stream(weight=weight).map(lambda x, y, w, part=part: spoil(x, y, w, part))
            with pytest.raises(ValueError, match=f"{method}: {name} .*batch 2"):
                getattr(model, method)(data, verbose=0)
    right = stream(weight=ONES.astype("int32")).map(lambda *batch: batch)
    getattr(model, method)(right, verbose=0)


def test_missing_labels_of_a_stream_pass_and_infinite_ones_do_not():
    model = compiled(missing="nan")
    assert np.isfinite(model.fit(stream(dy=spoilt(DY, np.nan)), verbose=0).history["loss"][0])
    with pytest.raises(ValueError, match="label d1 has infinity, first in row 11"):
        model.fit(stream(dy=spoilt(DY, -np.inf)), verbose=0)


def test_rows_that_do_not_match_within_a_batch():
    def batches():
        yield X, (Y, DY)

    specs = [tf.TensorSpec([None, *a.shape[1:]], tf.float32) for a in (X, Y, DY)]
    data = tf.data.Dataset.from_generator(
        lambda: ((x, (y[:1], dy)) for x, (y, dy) in batches()),
        output_signature=(specs[0], (specs[1], specs[2])),
    )
    with pytest.raises(ValueError, match="x has 16 rows and label value has 1"):
        compiled().fit(data, verbose=0)


def test_complex_numbers_in_streams_are_refused():
    complex_labels = (Y + 1j).astype("complex64")
    data = tf.data.Dataset.from_tensor_slices((X, (complex_labels, DY))).batch(4)
    with pytest.raises(ValueError, match="fit: label value holds complex64, expected real"):
        compiled().fit(data, verbose=0)
    with pytest.raises(ValueError, match="label value holds complex64, expected real"):
        compiled().fit(((X, (complex_labels, DY)) for _ in range(2)), verbose=0)


class Batches(keras.utils.PyDataset):
    def __init__(self, x=X, y=Y, dy=DY, **options):
        super().__init__(**options)
        self.arrays = x, (y, dy)

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return keras.tree.map_structure(lambda a: a[4 * i : 4 * i + 4], self.arrays)


@pytest.mark.parametrize("workers", [1, 2])
def test_masked_and_object_entries_of_a_pydataset(workers):
    masked = np.ma.array(DY, mask=np.arange(16).reshape(16, 1, 1) == np.full([1, 1, 2], 9))
    with pytest.raises(ValueError, match=r"label d1 is masked, first in row"):
        compiled().fit(Batches(dy=masked, workers=workers), verbose=0)
    missing = compiled(missing="nan").fit(Batches(dy=masked, workers=workers), verbose=0)
    assert np.isfinite(missing.history["loss"][0])
    with pytest.raises(ValueError, match="label d1 holds object, expected numbers"):
        compiled().fit(Batches(dy=DY.astype(object), workers=workers), verbose=0)


@pytest.mark.slow  # starts processes
def test_a_pydataset_of_processes():
    model = compiled()
    wrong = Batches(spoilt(X, np.nan), workers=1, use_multiprocessing=True)
    with pytest.raises(ValueError, match=r"^SobolevModel.fit: x has NaN.* 11 .*finite.$"):
        model.fit(wrong, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    right = Batches(workers=1, use_multiprocessing=True)
    assert np.isfinite(model.fit(right, verbose=0).history["loss"][0])


def test_under_a_strategy():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = compiled()
    with pytest.raises(ValueError, match=r"x has NaN, first in row 11 \(batch 2\)"):
        model.fit(stream(spoilt(X, np.nan)), verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_decoupled_model_keeps_its_weights():
    inputs = keras.Input([2])
    hidden = keras.layers.Dense(8, "relu", name="h1")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    model = DecoupledModel(split(net, at=["h1"]), critic=dense_critic)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, weight_decay=0.1), "adam", loss)
    data = tf.data.Dataset.from_tensor_slices((spoilt(X, np.nan, 3), np.arange(16) % 3)).batch(4)
    start = model.get_weights()
    with pytest.raises(ValueError, match=r"x \(batch 0\) has NaN, first in row 3"):
        model.fit(data, verbose=0)
    assert_same(start, model.get_weights())


def root_of_a_square():
    inputs = keras.Input([2])
    root = keras.ops.sqrt(keras.ops.sum(inputs**2, -1, keepdims=True))
    model = SobolevModel(keras.Model(inputs, keras.layers.Dense(1)(root)))
    model.compile("sgd")
    return model


@pytest.mark.parametrize("kind", ["data set", "generator", "PyDataset"])
def test_a_net_whose_own_derivative_is_not_finite_is_named(kind):
    at_zero = Batches(spoilt(X, 0.0))
    data = {
        "data set": tf.data.Dataset.from_tensor_slices(at_zero.arrays).batch(4),
        "generator": (at_zero[i] for i in range(4)),
        "PyDataset": at_zero,
    }
    with pytest.raises(FloatingPointError, match=r"derivative d1 is not, first in row 11 \(b"):
        root_of_a_square().fit(data[kind], shuffle=False, verbose=0)


def test_batches_of_more_than_three_parts_are_refused():
    model, message = compiled(run_eagerly=True), r"batch has 4 parts, .*\(x, \(y, dy\)\)\.$"
    data = tf.data.Dataset.from_tensor_slices((X, Y, DY, DY)).batch(8)
    batch = (X, Y, DY, DY)
    runs = [
        lambda: model.fit(data, verbose=0),
        lambda: model.fit((batch for _ in range(2)), steps_per_epoch=2, verbose=0),
        lambda: model.fit(X, (Y, DY), validation_data=batch, verbose=0),
        lambda: model.evaluate(data, verbose=0),
        lambda: model.predict(data, verbose=0),
        lambda: model.predict_jet(data),
        lambda: model.adapt(data),
    ]
    for run in runs:
        with pytest.raises(ValueError, match=message):
            run()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_iterator_of_batches_is_a_stream(dtype):
    model = SobolevModel(nets.mlp(2, hidden=[4], activation="tanh", dtype=dtype))
    model.compile("sgd", run_eagerly=True)
    x, y, dy = (a.astype(dtype) for a in (X, Y, DY))
    expected = model.evaluate(x, (y, dy), verbose=0)
    batches = [(x[:8], (y[:8], dy[:8])), (x[8:], (y[8:], dy[8:]))]
    for data in (iter(batches), map(tuple, batches), zip(*zip(*batches, strict=True), strict=True)):
        assert model.evaluate(data, steps=2, verbose=0) == pytest.approx(expected, rel=1e-5)
        again = (batch for batch in batches)
        np.testing.assert_array_equal(
            model.predict(iter(batches), steps=2, verbose=0),
            model.predict(again, steps=2, verbose=0),
        )
    with pytest.raises(ValueError, match=r"^.*shape (\(8, 1\)|\[8, 1\]).*expected.*$") as caught:
        model.fit(iter([batches[0], (x[:8, :1], batches[0][1])]), steps_per_epoch=2, verbose=0)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_evaluate_refuses_a_data_set_without_batches():
    with pytest.raises(ValueError, match=r"^SobolevModel.evaluate: there is no data\.$"):
        compiled(run_eagerly=True).evaluate(stream().take(0), verbose=0)


def test_a_pydataset_without_batches_is_refused():
    class Empty(keras.utils.PyDataset):
        def __len__(self):
            return 0

        def __getitem__(self, index):
            raise IndexError(index)

    for dtype in ("float32", "float64"):
        model = SobolevModel(nets.mlp(2, hidden=[4], activation="tanh", dtype=dtype))
        model.compile("sgd", run_eagerly=True)
        with pytest.raises(ValueError, match="PyDataset has length 0"):
            model.fit(Empty(), verbose=0)


@pytest.mark.parametrize("batch", [(X, (Y, DY), None), (X, (None, DY))])
def test_none_in_a_batch_of_a_pydataset_is_refused_in_one_line(batch):
    class Given(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return batch

    with pytest.raises(ValueError, match=r"^SobolevModel.fit: a batch has None .*: leave it\b.*$"):
        compiled().fit(Given(), verbose=0)


def test_a_generator_of_tensors_is_not_kept(monkeypatch):
    monkeypatch.setattr(watched_data, "_KEPT_BYTES", 1000)
    batches = ((tf.ones([10, 2]), tf.ones([10, 1])) for _ in range(20))
    data = watched_data.WatchedData(batches, lambda batch, number, row: batch, None)
    assert len(list(data.data)) == 20
    assert len(data._last) == 1000 // 120
