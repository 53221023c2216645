"""What `adapt` counts: x or not, rows of weight 0, padding, and labels of the right shape."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import SobolevModel, nets
from tests.support.small import DY, X, Y, compiled

ATOMS = np.random.default_rng(0).normal(size=[20, 4, 3]).astype("float32")
REAL = np.arange(4) < np.random.default_rng(1).integers(2, 5, size=[20, 1])
ENERGY = 300 * np.exp(-np.sum(ATOMS**2, (1, 2)))[:, None]
FORCES = np.where(REAL[..., None], ATOMS, 1e3).astype("float32")[:, None]
PADDED = np.where(REAL[..., None], ATOMS, 100).astype("float32")


def of_atoms(dtype=None, **kwargs):
    layers = [keras.Input([4, 3], dtype=dtype), keras.layers.Flatten(dtype=dtype)]
    layers.append(keras.layers.Dense(1, dtype=dtype))
    return compiled(keras.Sequential(layers), **kwargs)


def scales(model):
    return [np.asarray(weight) for weight in model.scaling.weights]


def test_y_is_scaled_alone():
    model = compiled()
    model.adapt(X, (Y, DY))
    model.adapt(X, (Y, DY), scale_x=False)
    mean, deviation, value_mean, value_deviation = scales(model)
    assert (mean == 0).all()
    assert (deviation == 1).all()
    np.testing.assert_allclose(value_mean, Y.mean(0), rtol=1e-5)
    np.testing.assert_allclose(value_deviation, Y.std(0), rtol=1e-5)
    logs = model.evaluate(X, (Y, DY), verbose=0, return_dict=True)
    error = (model.predict_jet(X).derivatives[0] - DY) / Y.std(0)[:, None]
    assert logs["d1_loss"] == pytest.approx(np.mean(np.sum(error**2, (1, 2))), rel=1e-4)


def test_without_values_y_has_the_length_of_slopes_at_x_itself():
    model = compiled(component_weights="rms")
    model.adapt(X, {"d1": DY}, scale_x=False)
    length = np.sqrt(np.sum(np.mean(DY**2, 0), 1))
    np.testing.assert_allclose(scales(model)[3], length, rtol=1e-5)
    rms = np.sqrt(np.mean(DY**2, 0)) / length[:, None]
    rms = np.maximum(rms, rms.max() / 4)  # no component rules
    np.testing.assert_allclose(model.objective.components["d1"], 1 / rms, rtol=1e-5)


def test_padding_is_left_out_by_its_mask():
    model = of_atoms()
    model.adapt(PADDED, (ENERGY, FORCES), mask=REAL)
    mean, deviation, value_mean, _ = scales(model)
    np.testing.assert_allclose(mean, np.full([4, 3], ATOMS[REAL].mean()), atol=1e-6)
    np.testing.assert_allclose(deviation, np.full([4, 3], ATOMS[REAL].std()), rtol=1e-5)
    np.testing.assert_allclose(value_mean, ENERGY.mean(0), rtol=1e-5)
    # The padding's labels, a thousand each, are left out of the forces' sizes too.
    forces = np.where(REAL[..., None], ATOMS, np.nan)
    rms = np.sqrt(np.nanmean(forces**2, 0)) * ATOMS[REAL].std() / ENERGY.std()
    np.testing.assert_allclose(model.label_sizes["d1"][0], rms, rtol=1e-4)


def test_a_mask_of_everything_changes_nothing():
    plain, masked = of_atoms(), of_atoms()
    plain.adapt(ATOMS, (ENERGY, FORCES))
    masked.adapt(ATOMS, (ENERGY, FORCES), mask=np.ones([20], bool))
    for a, b in zip(scales(plain), scales(masked), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_mask_goes_through_every_axis_of_second_derivatives():
    net = keras.Sequential([keras.Input([2, 2]), keras.layers.Flatten(), keras.layers.Dense(1)])
    model = compiled(net, order=2)
    x = np.random.default_rng(0).normal(size=[8, 2, 2]).astype("float32")
    hessian = np.ones([8, 1, 2, 2, 2, 2], "float32")
    hessian[:, :, 1] = hessian[:, :, :, :, 1] = 1e6
    mask = np.tile([True, False], [8, 1])
    model.adapt(x, {"d2": hessian}, mask=mask, scale_x=False)
    sizes = model.label_sizes["d2"][0]
    np.testing.assert_allclose(sizes[0, :, 0], 1)
    assert sizes.max() <= 1


@pytest.mark.parametrize("streamed", [False, True])
def test_rows_of_weight_0_do_not_count(streamed):
    """Energies that nobody computed, whatever number stands there."""
    computed = np.arange(64) % 2 == 0
    y = np.where(computed[:, None], Y, -999).astype("float32")
    weights = {"value": computed.astype("float32")}
    model = compiled()
    if streamed:
        data = tf.data.Dataset.from_tensor_slices((X, (y, DY), weights)).batch(16)
        model.adapt(data)
    else:
        model.adapt(X, (y, DY), sample_weight=weights)
    mean, _, value_mean, value_deviation = scales(model)
    np.testing.assert_allclose(mean, X.mean(0), atol=1e-6)  # their forces count, and so does x
    np.testing.assert_allclose(value_mean, Y[computed].mean(0), rtol=1e-5)
    np.testing.assert_allclose(value_deviation, Y[computed].std(0), rtol=1e-4)
    model.adapt(X, (y, DY), sample_weight=computed.astype("float32"))
    np.testing.assert_allclose(scales(model)[0], X[computed].mean(0), atol=1e-6)


@pytest.mark.parametrize("weights", ["one", "by name"])
def test_points_of_weight_0_do_not_count_without_labels_either(weights):
    weight = (np.arange(64) % 2).astype("float32")
    alone, streamed = compiled(), compiled()
    passed = weight if weights == "one" else {"d1": weight}
    alone.adapt(X, sample_weight=passed)
    np.testing.assert_allclose(scales(alone)[0], X[1::2].mean(0), atol=1e-6)
    streamed.adapt(tf.data.Dataset.from_tensors((X, None, passed)))
    np.testing.assert_array_equal(scales(streamed)[0], scales(alone)[0])


@pytest.mark.parametrize("placeholder", [0.0, 7.0, np.nan])
def test_placeholder_energies_do_not_spoil_the_scale_of_forces(placeholder):
    forces, both = compiled(missing="nan"), compiled(missing="nan")
    forces.adapt(X, {"d1": DY})
    y = np.full_like(Y, placeholder)
    both.adapt(X, (y, DY), sample_weight={"value": np.zeros(64, "float32")})
    np.testing.assert_array_equal(scales(both)[3], scales(forces)[3])
    assert (scales(both)[2] == 0).all()
    both.adapt(X, (y, DY))
    np.testing.assert_array_equal(scales(both)[3], scales(forces)[3])


def test_energies_of_some_rows_only_and_zero_for_the_others():
    y = np.where(np.arange(64)[:, None] < 32, Y, np.nan).astype("float32")
    model = compiled(missing="nan")
    model.adapt(X, (y, DY))
    np.testing.assert_allclose(scales(model)[3], Y[:32].std(0), rtol=1e-4)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ((Y, DY[:, :, :2]), {}, r"label d1 has shape \[64, 2, 2\], expected \[B, 2, 3\]"),
        ((Y[:, :1], DY), {}, r"label value has shape \[64, 1\], expected \[B, 2\]"),
        ((Y, DY), {"mask": np.ones([64, 2], bool)}, r"mask is bool \[B, 2\], expected booleans"),
        ((Y, DY), {"mask": np.ones([64, 3])}, "mask is float64"),
        ((Y, DY), {"mask": np.ones([9], bool)}, "x has 64 rows and mask has 9"),
        ((Y, DY), {"mask": np.zeros([64], bool)}, "leave no data"),
        ((Y, DY), {"sample_weight": np.zeros([64], "f")}, "leave no data"),
        ((Y, DY), {"sample_weight": -np.ones([64], "f")}, "sample_weight"),
        ((Y, DY), {"scale_x": None}, "scale_x is True or False"),
    ],
)
def test_wrong_arguments_are_named(y, options, message):
    with pytest.raises(ValueError, match=message):
        compiled().adapt(X, y, **options)


def test_a_mask_goes_with_arrays():
    data = tf.data.Dataset.from_tensor_slices((X, (Y, DY))).batch(8)
    with pytest.raises(ValueError, match=r"adapt: mask goes with arrays"):
        compiled().adapt(data, mask=np.ones([64], bool))


def test_a_net_that_masks_padding_keeps_its_x():
    x = np.random.default_rng(0).normal(3, 1, [8, 6, 2]).astype("float32")
    x[:, 4:] = 0
    layers = [keras.layers.Masking(0.0), keras.layers.SimpleRNN(2), keras.layers.Dense(1)]
    model = SobolevModel(keras.Sequential([keras.Input([6, 2]), *layers]))
    model.adapt(x, 100 * x[:, 0, :1], scale_x=False)
    assert scales(model)[3] > 10


def test_sizes_of_slopes_do_not_depend_on_units():
    x, y, dy = (a.astype("float64") for a in (X, Y, DY))
    sizes = []
    for unit in (1.0, 1e60):
        net = nets.mlp(3, 2, hidden=[4], activation="tanh", dtype="float64")
        model = compiled(net, component_weights="rms")
        model.adapt(unit * x, (y / unit, dy / unit**2))
        sizes.append(model.objective.components["d1"])
    np.testing.assert_allclose(sizes[1], sizes[0], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-160, 1e160])
def test_numbers_whose_squares_do_not_exist_are_refused(size):
    x, y, dy = (a.astype("float64") for a in (X, Y, DY))
    labels = (size * y, size * dy)
    net = nets.mlp(3, 2, hidden=[4], activation="tanh", dtype="float64")
    with pytest.raises(ValueError, match=r"adapt: label value has numbers of up to"):
        SobolevModel(net).adapt(x, labels)
    data = tf.data.Dataset.from_tensor_slices((x, labels)).batch(8)
    with pytest.raises(ValueError, match=r"adapt: label value \(batch 0\) has numbers of up to"):
        SobolevModel(net).adapt(data)


@pytest.mark.parametrize("constant", [0.1, 1.1])
def test_constant_points_of_several_axes_have_scale_1(constant):
    model = of_atoms("float64")
    model.adapt(np.full([8, 4, 3], constant), np.arange(8.0)[:, None])
    mean, deviation, *_ = scales(model)
    np.testing.assert_allclose(mean, constant)
    assert (deviation == 1).all()


def test_the_spread_of_points_far_from_zero_is_that_of_float64():
    noise = np.random.default_rng(0).normal(size=[8, 4, 3])
    model = of_atoms("float64")
    model.adapt(5e6 + 0.1 * noise, np.arange(8.0)[:, None])
    np.testing.assert_allclose(scales(model)[1], 0.1 * noise.std(), rtol=1e-6)


def test_rows_of_batches_are_numbered_as_in_fit():
    x = np.random.default_rng(0).normal(size=[64, 2]).astype("float32")
    x[40] = np.nan
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(16)
    for method in ("adapt", "fit"):
        model = compiled(nets.mlp(2, hidden=[4]), order=0)
        with pytest.raises(ValueError, match=r"x has NaN, first in row 40 \(batch 2\)"):
            getattr(model, method)(data)


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_a_masked_input_is_known_by_its_key():
    a, b = keras.Input([4, 1], name="foo"), keras.Input([1], name="bar")
    h = keras.layers.LSTM(2, unroll=True)(keras.layers.Masking(0.0)(a))
    output = keras.layers.Dense(1)(keras.layers.Concatenate()([h, b]))
    net = keras.Model({"a": a, "b": b}, output)
    x = {"a": np.ones([8, 4, 1], "float32"), "b": np.arange(8.0, dtype="float32")[:, None]}
    with pytest.raises(ValueError, match="masks x at 0"):
        SobolevModel(net, wrt="a").adapt(x, np.arange(8.0)[:, None])
    SobolevModel(net, wrt="b").adapt(x, np.arange(8.0)[:, None])
