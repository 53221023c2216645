"""differences: the jets of a black box."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from sobolev_tf import jets, targets
from sobolev_tf.differences import FiniteDifferences, finite_differences

SCHEMES = ["central", "forward", "complex"]
# Relative errors by order, for a function and inputs of size 1 in float64.
ACCURACY = {"central": (1e-8, 1e-5), "forward": (1e-6, 1e-3), "complex": (1e-14, 1e-8)}


def polynomial(x):
    return np.stack([x[:, 0] ** 2 * x[:, 1], 3 * x[:, 0] + x[:, 1] ** 3], 1)


def pair(inputs, outputs, seed=0):
    """A smooth function [B,*in] -> [B,*out], in NumPy and in TensorFlow, and its rng."""
    rng = np.random.default_rng(seed)
    size, out = int(np.prod(inputs)), int(np.prod(outputs))
    w, v = rng.normal(size=[size, 8]) / np.sqrt(size), rng.normal(size=[8, out]) / np.sqrt(8)

    def black(x):
        return (np.tanh(x.reshape(-1, size) @ w) @ v).reshape(-1, *outputs)

    def white(x):
        return tf.reshape(tf.tanh(tf.reshape(x, [-1, size]) @ w) @ v, [-1, *outputs])

    return black, white, rng


def errors(result, true, floor=0.0):
    """Relative errors of the values and of each derivative; shapes must agree."""
    relative = []
    for a, b in zip(
        [result.value, *result.derivatives], [true.value, *true.derivatives], strict=True
    ):
        assert a.shape == b.shape
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        relative.append(np.linalg.norm(a - b) / (np.linalg.norm(b) + floor))
    return relative


def counted(fn, calls):
    """fn, noting the number of rows of each call."""
    return lambda x: (calls.append(len(x)), fn(x))[1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_polynomial_by_hand(scheme):
    target = FiniteDifferences(polynomial, scheme)
    x = tf.constant([[1.0, 2.0], [-3.0, 0.5]], tf.float64)
    value, (d1, d2) = target.jet(x, order=2)
    a, b = x.numpy().T
    zero, one = np.zeros(2), np.ones(2)
    gradients = [[2 * a * b, a**2], [3 * one, 3 * b**2]]
    hessians = [[[2 * b, 2 * a], [2 * a, zero]], [[zero, zero], [zero, 6 * b]]]
    first, second = ACCURACY[scheme]
    np.testing.assert_array_equal(value, polynomial(x.numpy()))
    np.testing.assert_array_equal(target(x), value)
    np.testing.assert_allclose(d1, np.moveaxis(gradients, -1, 0), rtol=first)
    np.testing.assert_allclose(d2, np.moveaxis(hessians, -1, 0), rtol=second, atol=10 * second)
    v, w = tf.constant([[[1.0, 1.0]], [[0.0, 2.0]]]), tf.constant([[[2.0, 0.0]], [[1.0, -1.0]]])
    _, (dv, dvw) = target.directional_jet(x, [v, w])
    np.testing.assert_allclose(dv[:, 0], [[5, 15], [18, 1.5]], rtol=first)
    np.testing.assert_allclose(dvw[:, 0], [[12, 0], [-12, -6]], rtol=second, atol=10 * second)


@settings(max_examples=10, deadline=None)
@given(
    inputs=st.sampled_from([(1,), (3,), (2, 2), (2, 3, 1), ()]),
    outputs=st.sampled_from([(1,), (2,), (2, 2), ()]),
    batch=st.integers(1, 3),
    projections=st.integers(1, 3),
    scheme=st.sampled_from(SCHEMES),
    seed=st.integers(0, 99),
)
def test_jets_agree_with_autodiff(inputs, outputs, batch, projections, scheme, seed):
    black, white, rng = pair(inputs, outputs, seed)
    x = tf.constant(rng.normal(size=[batch, *inputs]))
    v, w = (tf.constant(rng.normal(size=[batch, projections, *inputs])) for _ in range(2))
    u = tf.constant(rng.normal(size=[batch, projections, *outputs]))
    target = FiniteDifferences(black, scheme)
    for result, true in [
        (target.jet(x, 2), jets.jet(white, x, 2)),
        (target.directional_jet(x, [v, w]), jets.directional_jet(white, x, [v, w])),
        (target.partial_jet(x, v, 2), jets.partial_jet(white, x, v, 2)),
        (target.projected_jet(x, 2, lambda _: u), jets.projected_jet(white, x, 2, lambda _: u)),
    ]:
        value, *derivatives = errors(result, true, floor=1)  # a contraction may vanish
        assert value < 1e-14
        assert np.all(np.array(derivatives) < 10 * np.array(ACCURACY[scheme]))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_accuracy_for_a_function_of_size_one(scheme):
    black, white, rng = pair((5,), (3,))
    x = tf.constant(rng.normal(size=[20, 5]))
    _, first, second = errors(FiniteDifferences(black, scheme).jet(x, 2), jets.jet(white, x, 2))
    assert first < ACCURACY[scheme][0]
    assert second < ACCURACY[scheme][1]


@pytest.mark.parametrize("handed", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_black_box_in_float32_gets_longer_steps(dtype, handed):
    black, white, rng = pair((5,), (3,))
    x = rng.normal(size=[20, 5])
    seen = []

    def single(x):
        seen.append(x.dtype.name)
        return black(x.astype("float32")).astype("float32")

    true = jets.jet(white, tf.constant(x), 2)
    target = FiniteDifferences(single, dtype=handed)
    result = target.jet(tf.constant(x.astype(dtype)), 2)
    assert set(seen) == {handed}
    assert {t.dtype.name for t in (result.value, *result.derivatives)} == {dtype}
    assert np.all(np.array(errors(result, true)) < [1e-6, 1e-3, 1e-2])
    forward = FiniteDifferences(single, "forward").jet(tf.constant(x), 1)
    assert errors(forward, true._replace(derivatives=true.derivatives[:1]))[1] < 1e-2


@pytest.mark.parametrize(
    ("scheme", "evaluations"), [("central", 10), ("forward", 5), ("complex", 5)]
)
def test_evaluations_are_few_and_in_few_calls(scheme, evaluations, monkeypatch):
    black, _, rng = pair((5,), (3,))
    x, calls = tf.constant(rng.normal(size=[4, 5])), []
    target = FiniteDifferences(counted(black, calls), scheme)
    target.jet(x, 1)  # "complex" then looks at whether the function is analytic, once
    calls.clear()
    whole = target.jet(x, 2)
    assert calls[:2] == [4, 4 * evaluations]
    pairs = 15
    assert calls[2:] == [4 * pairs * {"central": 4, "forward": 3, "complex": 2}[scheme]]
    monkeypatch.setattr(finite_differences, "_AT_ONCE", 200)
    calls.clear()
    for a, b in zip(target.jet(x, 2).derivatives, whole.derivatives, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(calls) > 3
    assert max(calls) * 5 <= 200


def test_projections_cost_no_more_in_many_dimensions():
    black, white, rng = pair((28, 28, 1), (10,))
    x, calls = tf.constant(rng.normal(size=[2, 28, 28, 1])), []
    v = tf.constant(rng.normal(size=[2, 3, 28, 28, 1]))
    result = FiniteDifferences(counted(black, calls)).directional_jet(x, [v, v])
    assert sum(calls) == 2 * (1 + 3 * 2 + 3 * 4)
    _, first, second = errors(result, jets.directional_jet(white, x, [v, v]))
    assert first < 1e-8
    assert second < 1e-5


def test_steps_follow_the_size_of_x():
    scale = np.array([1e6, 1e-6])
    target = FiniteDifferences(lambda x: np.sin(x / scale), scale=scale)
    x = np.array([[0.0, 0.0], [2e6, -1e-6]])
    d1 = target.jet(tf.constant(x)).derivatives[0].numpy()
    np.testing.assert_allclose(d1, np.cos(x / scale)[:, :, None] * np.eye(2) / scale, rtol=1e-8)
    big = FiniteDifferences(np.log).jet(tf.constant([1e-8 + 1, 1e8, 1e30], tf.float64), 2)
    np.testing.assert_allclose(big.derivatives[0], [1 - 1e-8, 1e-8, 1e-30], rtol=1e-8)
    np.testing.assert_allclose(big.derivatives[1], [-1, -1e-16, -1e-60], rtol=1e-5)


def test_a_step_of_ones_own():
    seen = []
    target = FiniteDifferences(lambda x: (seen.append(x), x**2)[1], "forward", step=[0.5, 0.25])
    d1 = target.jet(tf.constant([[1.0, 2.0]])).derivatives[0]
    np.testing.assert_array_equal(seen[1], [[1.5, 2.0], [1.0, 2.25]])
    np.testing.assert_array_equal(d1[0], [[2.5, 0], [0, 4.25]])
    tiny = FiniteDifferences(np.exp, "complex", step=1e-200).jet(tf.constant([1.0], tf.float64))
    np.testing.assert_allclose(tiny.derivatives[0], np.e, rtol=1e-15)


def test_forward_differences_never_step_below_x():
    root = FiniteDifferences(lambda x: np.where(x < 0, np.nan, x**2), "forward")
    np.testing.assert_allclose(root.jet(tf.zeros([1]), 2).derivatives[1], [2], rtol=1e-4)


def test_a_direction_of_zero():
    for scheme in SCHEMES:
        zero = tf.zeros([2, 1, 3])
        result = FiniteDifferences(np.sin, scheme).directional_jet(tf.ones([2, 3]), [zero, zero])
        assert not any(np.any(d) for d in result.derivatives)


def test_a_black_box_may_reuse_its_arrays():
    buffer = np.empty([100, 2])

    def careless(x):
        np.square(x, out=buffer[: len(x)])
        x[:] = np.nan
        return buffer[: len(x)]

    x = np.array([[1.0, 2.0]])
    value, (d1,) = FiniteDifferences(careless).jet(tf.constant(x))
    np.testing.assert_allclose(value, [[1, 4]])
    np.testing.assert_allclose(d1, [[[2, 0], [0, 4]]], atol=1e-9)
    np.testing.assert_array_equal(x, [[1, 2]])


def test_no_rows():
    def fussy(x):
        assert len(x)
        return np.sin(x)

    for scheme in SCHEMES:
        none = tf.zeros([0, 3])
        result = FiniteDifferences(fussy, scheme, outputs=[3]).jet(none, 2)
        assert [d.shape for d in result.derivatives] == [(0, 3, 3), (0, 3, 3, 3)]
        result = FiniteDifferences(np.sin, scheme).directional_jet(none, [tf.zeros([0, 2, 3])])
        assert result.derivatives[0].shape == (0, 2, 3)


@pytest.mark.parametrize("known", ["never", "given", "learned"])
def test_inside_a_graph(known):
    black, _, rng = pair((4,), (3,))
    x, v, u = (tf.constant(rng.normal(size=s), tf.float32) for s in ([2, 4], [2, 5, 4], [2, 5, 3]))
    target = FiniteDifferences(black, outputs=[3] if known == "given" else None)
    if known == "learned":
        target(x[:1])
    shapes = []

    def all_of_them(x, v):
        results = [
            target.jet(x, 2),
            target.directional_jet(x, [v, v]),
            target.partial_jet(x, v, 2),
            target.projected_jet(x, 2, lambda _: u),
        ]
        shapes.extend(f.derivatives[1].shape for f in results)
        return results

    signature = [tf.TensorSpec([None, 4]), tf.TensorSpec([None, 5, 4])]
    compiled = tf.function(all_of_them, input_signature=signature)(x, v)
    if known == "never":
        assert [s.rank for s in shapes] == [None, None, None, 4]
    else:
        ends = [[3, 4, 4], [5, 3], [5, 3, 4], [5, 4, 4]]
        assert [s.as_list()[1:] for s in shapes] == ends
    for a, b in zip(compiled, all_of_them(x, v), strict=True):
        assert a.value.dtype == tf.float32
        assert np.all(np.array(errors(a, b)) < 1e-6)


def test_labels_inside_a_keras_train_step():
    """Values and gradients of a black box, fitted by a linear net in a compiled train step."""
    target = FiniteDifferences(lambda x: x @ np.array([[2.0], [-1.0]]), outputs=[1])

    class Student(keras.Model):
        def train_step(self, x):
            value, (d1,) = target.jet(x)
            with tf.GradientTape() as tape:
                predicted = jets.jet(self.net, x)
                loss = tf.reduce_mean((predicted.value - value) ** 2)
                loss += tf.reduce_mean((predicted.derivatives[0] - d1) ** 2)
            variables = self.trainable_variables
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables, strict=True)
            )
            return {"loss": loss}

    student = Student()
    student.net = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    student.compile(keras.optimizers.SGD(0.2), jit_compile=False)
    x = np.random.default_rng(0).normal(size=[64, 2]).astype("float32")
    student.fit(tf.data.Dataset.from_tensor_slices(x).batch(16), epochs=5, verbose=0, shuffle=False)
    np.testing.assert_allclose(student.net.get_weights()[0], [[2], [-1]], atol=1e-3)


def test_nothing_flows_through_it():
    x = tf.constant([[1.0, 2.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        eager = FiniteDifferences(np.sin).jet(x)
        compiled = tf.function(FiniteDifferences(np.sin, outputs=[2]).jet)(x)
    for result in (eager, compiled):
        assert tape.gradient(result.value, x) is None
        assert tape.gradient(result.derivatives[0], x) is None


FAULTS = {
    "raises": (lambda x: x @ np.ones(7), {}, "fn raised ValueError: matmul"),
    "rows": (lambda x: x[1:], {}, r"fn returned shape \(3, 2\) for x of shape \(4, 2\)"),
    "no rows": (lambda x: 1.0, {}, r"fn returned shape \(\)"),
    "nothing": (lambda x: None, {}, r"fn returned shape \(\)"),
    "integers": (lambda x: x.astype(int), {}, "fn returned int64 for x of float64"),
    "complex": (lambda x: x + 0j, {}, "fn returned complex128 for x of float64"),
    "real": (lambda x: np.abs(x), {"scheme": "complex"}, 'float64 for x of complex128.*"central"'),
    "nan": (lambda x: np.where(x > 2.5, np.nan, x), {}, r"nan.* in row 2 of x, .*at \[0\.5\s+3"),
    "inf near x": (lambda x: np.where(x > 3, np.inf, x), {}, r"inf.* in row 2 of x, .*\[0\.5\s+3"),
    "outputs": (lambda x: x, {"outputs": (3,)}, r"float64 \(2,\), expected float64 \(3,\)"),
    "scale": (np.sin, {"scale": [1.0, 2.0, 3.0]}, r"scale has shape \(3,\), expected .*\(2,\)"),
    "lost step": (np.sin, {"step": 1e-20}, r"step=1e-20 is lost in float64 .* row 0 of x, \[2\."),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("compiled", [False, True])
def test_faults_of_the_black_box_say_where(name, compiled):
    fn, options, message = FAULTS[name]
    x = tf.constant([[2.0, 1.0], [1.0, 2.0], [0.5, 3.0], [1.0, 1.0]], tf.float64)
    target = FiniteDifferences(fn, **options)
    jet = tf.function(target.jet) if compiled else target.jet
    with pytest.raises(tf.errors.OpError if compiled else ValueError, match=message):
        jet(x)


def test_the_check_of_a_complex_step_blames_no_row():
    x = tf.constant([[0.0], [1.0], [2.0], [3.0]], tf.float64)
    fails_near_3 = FiniteDifferences(lambda z: np.where(z.real > 3, np.nan, z), "complex")
    with pytest.raises(ValueError, match=r"fn returned \[nan.*\], evaluated at \[3\.0"):
        fails_near_3.jet(x)


def test_a_black_box_that_changes_its_mind():
    kinds = iter([np.float64, np.float32])
    changing = FiniteDifferences(lambda x: x.astype(next(kinds)))
    with pytest.raises(ValueError, match=r"float32 \(2,\), expected float64 \(2,\)"):
        changing.jet(tf.ones([3, 2]))
    widths = iter([2, 1])
    changing = FiniteDifferences(lambda x: x[:, : next(widths)])
    with pytest.raises(ValueError, match=r"float64 \(1,\), expected float64 \(2,\)"):
        changing.jet(tf.ones([3, 2]))


def test_faults_of_the_caller():
    x, target = tf.ones([4, 2]), FiniteDifferences(np.sin)
    for wrong, message in [
        (lambda: target.jet(x, 3), "FiniteDifferences: order is 0, 1 or 2, got 3"),
        (lambda: target.directional_jet(x, [tf.ones([4, 1, 2])] * 3), "order is 0, 1 or 2, got 3"),
        (lambda: target.directional_jet(x, [tf.ones([4, 2])]), r"expected \[B,P,\*in\]"),
        (lambda: target.jet(tf.ones([4, 2], tf.int32)), "FiniteDifferences: x holds int32"),
        (lambda: FiniteDifferences(np.sin, "backward"), "scheme is 'central'"),
        (lambda: FiniteDifferences(np.sin, dtype="float16"), "dtype is 'float32'"),
        (lambda: FiniteDifferences(np.sin, step=0.0), "step is a length"),
        (lambda: FiniteDifferences(np.sin, scale=[1.0, np.nan]), "scale is a length"),
    ]:
        with pytest.raises(ValueError, match=message):
            wrong()


def test_it_is_a_target_that_is_not_saved():
    assert targets.FiniteDifferences is FiniteDifferences
    assert targets.serialize(FiniteDifferences(np.sin)) is None
