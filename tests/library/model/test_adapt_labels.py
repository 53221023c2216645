"""What adapt makes of labels in the wrong shape, and of losses that z-scores do not serve."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st

RNG = np.random.default_rng(0)


def make(inputs=3, outputs=2, **settings):
    net = st.nets.mlp(inputs, outputs, hidden=[4], activation="tanh")
    return st.SobolevModel(net, **settings)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ((np.zeros([30, 2]), np.zeros([30, 3, 2])), "label d1 has shape"),
        (np.zeros([30, 4]), "label value has shape"),
        (np.zeros([30]), "label value has shape"),
        ({"d1": np.zeros([30, 6])}, "label d1 has shape"),
        ((np.zeros([30, 2]), np.zeros([30, 2, 3, 3])), "label d1 has shape"),
    ],
)
def test_adapt_refuses_labels_of_another_shape(y, words):
    model = make()
    with pytest.raises(ValueError, match=words):
        model.adapt(RNG.normal(size=[30, 3]), y)
    assert float(tf.reduce_max(abs(model.scaling.mean))) == 0.0


def test_adapt_refuses_a_dataset_of_other_shapes():
    data = tf.data.Dataset.from_tensor_slices((np.zeros([8, 3]), np.zeros([8, 6]))).batch(4)
    with pytest.raises(ValueError, match="label value has shape"):
        make().adapt(data)


def test_short_forms_of_one_output_scale_as_the_long_ones():
    x = RNG.normal(size=[30, 3])
    y, dy = x @ [[1.0], [2.0], [3.0]], np.tile([[[1.0, 2.0, 3.0]]], [30, 1, 1])
    long, short = make(outputs=1), make(outputs=1)
    long.adapt(x, (y, dy))
    short.adapt(x, (y[:, 0], dy[:, 0]))
    np.testing.assert_array_equal(long.scaling.value_deviation, short.scaling.value_deviation)
    np.testing.assert_allclose(long.scaling.value_deviation, y.std(0), rtol=1e-6)
    assert long.label_sizes["d1"].shape == (1, 3)


def loss_name(loss):
    """A name without addresses, which differ by process."""
    return loss if isinstance(loss, str) else type(loss).__name__


LOSSES = [
    "binary_crossentropy",
    "mean_squared_logarithmic_error",
    "mean_absolute_percentage_error",
    keras.losses.Poisson(),
    keras.losses.CosineSimilarity(),
    st.losses.RelativeNorm(),
]


@pytest.mark.parametrize("loss", [st.losses.RelativeNorm(), keras.losses.CosineSimilarity()])
@pytest.mark.parametrize("adapt_first", [True, False])
def test_ratios_of_derivatives_are_refused_where_scaling_changes_them(loss, adapt_first):
    """A factor for all components leaves ratios and angles as they are, one for each does not."""
    x = RNG.normal(size=[30, 2]) * [1, 100]
    y, dy = x @ [[1], [0.01]], np.tile([[[1.0, 0.01]]], [30, 1, 1])

    def run(scale_x, loss=loss):
        model = st.SobolevModel(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]))
        steps = [
            lambda: model.compile("sgd", loss=["mse", loss]),
            lambda: model.adapt(x, (y, dy), scale_x=scale_x),
        ]
        for step in steps[::-1] if adapt_first else steps:
            step()

    run(scale_x=False)
    run(scale_x=True, loss="mse")
    with pytest.raises(ValueError, match=r": the loss of d1, .* an angle\), and after adapt") as e:
        run(scale_x=True)
    assert "\n" not in str(e.value)

    def own(true, predicted):
        return tf.reduce_mean((predicted / true - 1) ** 2 + tf.abs(true), [1, 2])

    with pytest.warns(UserWarning, match="the loss of d1, own, compares more"):
        run(scale_x=True, loss=own)


@pytest.mark.parametrize("loss", LOSSES, ids=loss_name)
@pytest.mark.parametrize("adapt_first", [True, False])
def test_losses_of_the_values_themselves_are_refused_between_z_scores(loss, adapt_first):
    x = RNG.normal(size=[30, 2])
    y = (x.sum(1, keepdims=True) > 0).astype("float32")
    net = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, "sigmoid")])
    model = st.SobolevModel(net, order=0)
    if adapt_first:
        model.adapt(x, y)
        with pytest.raises(ValueError, match=r"compile: the loss of value, .*z-scores"):
            model.compile("adam", loss=loss)
    else:
        model.compile("adam", loss=loss)
        with pytest.raises(ValueError, match=r"SobolevModel.adapt: the loss of value, .*z-scores"):
            model.adapt(x, y)
        assert float(model.scaling.value_mean[0]) == 0.0  # nothing was changed


@pytest.mark.parametrize(
    "loss", ["mse", "mae", "log_cosh", "huber", st.losses.Norm(), st.losses.L1Norm()], ids=loss_name
)
def test_losses_of_errors_are_taken_between_z_scores(loss):
    x = RNG.normal(size=[30, 2])
    model = make(2, 1, order=0)
    model.compile("adam", loss=loss)
    model.adapt(x, 1000 + 30 * x[:, :1])
    model.compile("adam", loss=loss)


def test_class_numbers_are_not_scaled_and_their_loss_is_taken():
    x = 5 + 3 * RNG.normal(size=[30, 2])
    model = make(2, 3, order=0)
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.adapt(x, np.arange(30) % 3)
    assert np.asarray(model.scaling.value_deviation).tolist() == [1.0, 1.0, 1.0]


def test_a_function_of_ones_own_gets_a_warning():
    def relative(y_true, y_pred):
        return tf.reduce_mean(tf.abs(y_pred - y_true) / (tf.abs(y_true) + 1.0), -1)

    x = RNG.normal(size=[30, 2])
    model = make(2, 1, order=0)
    model.adapt(x, 1000 + x[:, :1])
    with pytest.warns(UserWarning, match="the loss of value, relative, compares more than errors"):
        model.compile("adam", loss=relative)
