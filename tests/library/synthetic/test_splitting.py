import keras
import numpy as np
import pytest

from sobolev_tf.synthetic import DecoupledModel, dense_critic, split


def residual_net():
    """dense -> a -> (b, skip) -> add -> head: 'add' separates the graph, 'b' does not."""
    inputs = keras.Input([4], name="inputs")
    a = keras.layers.Dense(5, "tanh", name="a")(inputs)
    b = keras.layers.Dense(5, "tanh", name="b")(a)
    added = keras.layers.Add(name="add")([a, b])
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(added), name="net")


def test_stages_in_turn_are_the_net_and_share_its_weights():
    net = residual_net()
    x = np.random.default_rng(0).random([6, 4], "float32")
    stages = split(net, at=["a", "add"])
    h = x
    for stage in stages:
        h = stage(h)
    np.testing.assert_array_equal(h, net(x))
    assert [v.path for stage in stages for v in stage.variables] == [v.path for v in net.variables]
    assert stages[1].weights[0] is net.get_layer("b").kernel


def test_resnet50_at_the_papers_cuts():
    net = keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None
    )
    stages = split(net, at=["conv2_block3_out", "conv3_block4_out", "conv4_block6_out"])
    assert [stage.output_shape[-1] for stage in stages] == [256, 512, 1024, 10]
    assert sum(len(stage.variables) for stage in stages) == len(net.variables) == 320


def test_a_sequential_model_and_no_cut_at_all():
    net = keras.Sequential([keras.Input([3]), keras.layers.Dense(4, name="l"), keras.layers.ReLU()])
    assert len(split(net, at=["l"])) == 2
    assert len(split(net, at=[])) == 1


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (["ad"], "no layer named 'ad' in 'net'; did you mean add"),
        (["zzz"], "no layer named 'zzz' in 'net'; its last layers are "),
        (["b"], "crosses the cut at 'b': 'add', above it, reads 'a', below it"),
        (["add", "a"], r"out of order.*The graph's order is \['a', 'add'\]"),
        (["a", "a"], "named twice"),
        (["head"], "is an end of 'net'"),
        (["inputs"], "is an end of 'net'"),
    ],
)
def test_bad_cuts_are_named(at, message):
    with pytest.raises(ValueError, match=message):
        split(residual_net(), at)


def test_a_second_input_above_the_cut_is_named():
    a, b = keras.Input([3], name="a"), keras.Input([3], name="b")
    hidden = keras.layers.Dense(4, name="hidden")(a)
    out = keras.layers.Dense(2)(keras.layers.Concatenate(name="join")([hidden, b]))
    with pytest.raises(ValueError, match="'join', above it, reads 'b'"):
        split(keras.Model([a, b], out), ["hidden"])


def test_a_layer_on_both_sides_of_a_cut_is_named():
    inputs, shared = keras.Input([3]), keras.layers.Dense(3, name="shared")
    middle = keras.layers.ReLU(name="middle")(shared(inputs))
    with pytest.raises(ValueError, match="'shared/kernel' is used on both sides"):
        split(keras.Model(inputs, shared(middle)), ["middle"])


def test_a_nested_model_and_a_layer_from_another_net_are_cut_like_any():
    inner = keras.Input([4])
    base = keras.Model(inner, keras.layers.Dense(5, name="used")(inner), name="base")
    inputs = keras.Input([4])
    nested = keras.Model(inputs, keras.layers.Dense(3)(base(inputs)))
    reused = keras.Model(inputs, keras.layers.Dense(3)(base.get_layer("used")(inputs)))
    x = np.random.default_rng(0).random([6, 4], "float32")
    for net, name in ((nested, "base"), (reused, "used")):
        lower, upper = split(net, [name])
        np.testing.assert_array_equal(upper(lower(x)), net(x))


def test_a_layer_that_is_called_twice_is_named():
    inputs, relu = keras.Input([3]), keras.layers.ReLU(name="relu")
    h = relu(keras.layers.Dense(4)(inputs))
    net = keras.Model(inputs, keras.layers.Dense(2)(relu(keras.layers.Dense(4)(h))))
    with pytest.raises(ValueError, match="'relu' is called 2 times"):
        split(net, ["relu"])


def test_one_name_is_a_list_of_one():
    with pytest.raises(ValueError, match=r"at=\['a'\]"):
        split(residual_net(), "a")


def test_only_functional_models_have_a_graph_to_cut():
    class Opaque(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="expected a functional keras"):
        split(Opaque(), ["a"])


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict, all keys")
@pytest.mark.parametrize("structure", ["dict", "nested", "swapped names", "one key", "list"])
def test_stages_take_inputs_as_the_net_does(structure):
    a, b = keras.Input([4], name="b"), keras.Input([4], name="a")  # not the keys of below
    inputs = {
        "dict": {"z": a, "y": b},
        "nested": [{"z": a}, b],
        "swapped names": {"a": a, "b": b},
        "one key": {"z": a},
        "list": [a, b],
    }[structure]
    h = keras.layers.Dense(6, "tanh", name="h")(a - 2 * b if structure != "one key" else a)
    net = keras.Model(inputs, keras.layers.Dense(3)(h))
    rng = np.random.default_rng(0)
    x = keras.tree.map_structure(lambda t: rng.random([8, 4], "float32"), inputs)
    model = DecoupledModel(split(net, ["h"]), dense_critic)
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = net.predict(x, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.network()(x), expected, rtol=1e-5, atol=1e-6)
    history = model.fit(x, rng.integers(0, 3, 8), verbose=0).history
    assert np.isfinite(history["loss"][0])
