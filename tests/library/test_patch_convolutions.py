"""Nets that see Atari frames: their background, and convolutions on patches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import jets, nets

# Keras's own save calls np.array on a variable in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FRAMES = np.random.default_rng(0).integers(0, 256, [10, 6, 6, 2], dtype=np.uint8)


@pytest.mark.parametrize("net", [nets.atari_teacher, nets.atari_student])
def test_the_background_is_zero_to_the_net(net):
    """Frames on gray are to it what the same ones on black are to a net without background."""
    frames = tf.random.uniform([2, 84, 84, 4], maxval=100.0)
    results = []
    for background in (0, 87):
        keras.utils.set_random_seed(0)
        made, x = net(3, background), frames + background
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = tf.nest.flatten(made(x))[0]
        results.append((logits, tape.gradient(logits, x)))
    for black, gray in zip(*results, strict=True):
        np.testing.assert_allclose(black, gray, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "strides": 2},
        {"kernel_size": 3},
        {"kernel_size": (4, 2), "strides": 2},
        {"kernel_size": 4, "strides": (2, 4)},
        {"kernel_size": 4, "strides": 2, "padding": "same"},
        {"kernel_size": 2, "strides": 2, "groups": 2},
        {"kernel_size": 2, "dilation_rate": 2},
    ],
    ids=str,
)
def test_where_patches_do_not_fit_it_is_a_convolution(options):
    images = tf.random.normal([2, 8, 8, 4])
    layers = nets.PatchConv2D(6, **options), keras.layers.Conv2D(6, **options)
    for layer in layers:
        layer.build(images.shape)
    layers[1].set_weights(layers[0].get_weights())
    ours, theirs = (layer(images) for layer in layers)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_convolution_on_patches_is_the_same_one():
    """Value, gradient in the image, and that gradient's own gradient in the kernel."""
    images, results = tf.constant(FRAMES, tf.float32) / 255, []
    for layer in (nets.PatchConv2D(3, 4, 2), keras.layers.Conv2D(3, 4, 2)):
        layer.build(images.shape)
        rng = np.random.default_rng(0)
        layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
        with tf.GradientTape() as tape:
            value, slope = jets.vjp(
                lambda x, f=layer: tf.tanh(f(x)), images, tf.ones([10, 2, 2, 3])
            )
            square = tf.reduce_sum(slope**2)
        results.append((value, slope, *tape.gradient(square, layer.trainable_weights)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_patched_net_is_the_same_one():
    """Strided convolutions, one of them in a nested net; "same", stride 1 and 9x9 images stay."""
    convolution = keras.layers.Conv2D
    inner = keras.Sequential([keras.Input([10, 10, 3]), convolution(5, 4, 2, activation="tanh")])
    inputs = keras.Input([40, 40, 2])
    h = keras.layers.BatchNormalization()(convolution(3, 4, 4)(inputs))
    same, odd = convolution(2, 2, 2, "same")(inner(h)), convolution(2, 2, 2)(convolution(2, 2)(h))
    net = keras.Model(inputs, [keras.layers.Flatten()(each) for each in (same, odd)])
    rng = np.random.default_rng(0)
    net.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in net.weights])
    copy, images = (
        nets.with_patch_convolutions(net),
        tf.constant(rng.random([3, 40, 40, 2]), tf.float32),
    )
    kinds = [type(layer).__name__ for layer in copy._flatten_layers(include_self=False)]
    assert (kinds.count("PatchConv2D"), kinds.count("Conv2D")) == (3, 2)
    for k, v in enumerate(net(images)):
        ours, theirs = (
            jets.vjp(lambda x, f=f, k=k: f(x)[k], images, tf.ones_like(v)) for f in (copy, net)
        )
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_patched_net_keeps_all_other_layers(tmp_path):
    """What they know beside their weights too, such as Normalization's constants once loaded."""
    inputs = keras.Input([8, 8, 2])
    scale = keras.layers.Normalization()
    images = tf.random.uniform([5, 8, 8, 2], maxval=255)
    scale.adapt(images)
    net = keras.Model(inputs, keras.layers.Conv2D(3, 4, 2)(scale(inputs)))
    net.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(tmp_path / "net.keras")
    copy = nets.with_patch_convolutions(loaded)
    assert isinstance(copy.layers[-1], nets.PatchConv2D)
    np.testing.assert_allclose(copy(images), net(images), rtol=1e-4, atol=1e-4)
    assert not isinstance(loaded.layers[-1], nets.PatchConv2D)
    for model in (loaded, copy):  # both can still be saved, though they share layers
        model.save(tmp_path / "again.keras")
        again = keras.saving.load_model(tmp_path / "again.keras")
        np.testing.assert_allclose(again(images), net(images), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(loaded(images), net(images), rtol=1e-6)


def test_what_is_no_built_graph_is_not_patched():
    class Thrice(keras.Sequential):
        def call(self, x, training=None):
            return 3 * super().call(x)

    convolution = keras.layers.Conv2D(3, 4, 2)
    for net in (
        Thrice([keras.Input([8, 8, 2]), convolution]),
        keras.Sequential([keras.layers.Conv2D(3, 4, 2)]),
    ):
        assert nets.with_patch_convolutions(net) is net


@pytest.mark.parametrize("net", [None, "teacher.keras", keras.layers.Conv2D(1, 3)])
def test_patch_convolutions_are_of_models(net):
    with pytest.raises(ValueError, match=r"with_patch_convolutions: net is a keras.Model"):
        nets.with_patch_convolutions(net)
