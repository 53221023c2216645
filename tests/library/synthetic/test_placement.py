"""Stages on two logical CPUs: the weights of the unplaced model, and of a loop written by hand."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.synthetic import DecoupledModel, dense_critic, placement, split
from tests.support.cases import slow

TWO = ["/device:CPU:0", "/device:CPU:1"]
THREE = [*TWO, TWO[0]]
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(batch_norm=False):
    inputs = keras.Input([4])
    h = keras.layers.Dense(6, "tanh", kernel_regularizer="l2", name="first")(inputs)
    if batch_norm:
        h = keras.layers.BatchNormalization()(h)
    h = keras.layers.Dense(5, "tanh", name="second")(h)
    return keras.Model(inputs, keras.layers.Dense(3, name="third")(h))


def compiled(cuts=("second",), method="sobolev", placed=None, steps=1, rates=(0.1, 0.1), **keys):
    keras.utils.set_random_seed(1)
    keys.setdefault("optimizer", keras.optimizers.SGD(rates[0], momentum=0.9))
    model = DecoupledModel(split(net(len(cuts) == 1), cuts), dense_critic, method, placement=placed)
    model.compile(
        critic_optimizer=keras.optimizers.SGD(rates[1]),
        loss=CROSS_ENTROPY,
        metrics=["accuracy"],
        steps_per_execution=steps,
        **keys,
    )
    return model


def batches(n, size=6):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=[n * size, 4]).astype("float32"), rng.integers(0, 3, n * size)
    weights = rng.uniform(0.5, 2, n * size).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(size)


def assert_same(model, other):
    for group in ("variables", "optimizer", "critic_optimizer"):
        pair = [getattr(each, group) for each in (model, other)]
        if pair[0] is not None:
            a, b = (getattr(each, "variables", each) for each in pair)
            for one, two in zip(a, b, strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6, err_msg=one.path)


@pytest.mark.parametrize("method", ["sobolev", "noprop"])
def test_one_step_at_a_time_is_the_unplaced_model(method):
    """L2, BatchNorm, momentum, a schedule of the count, and sample weights."""
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.05, 0.01])
    models = [compiled(method=method, placed=placed, rates=(rate, 0.1)) for placed in (None, TWO)]
    logs = [model.fit(batches(3), verbose=0, shuffle=False).history for model in models]
    assert_same(*models)
    shared = [name for name in logs[0] if "cosine" not in name and "ratio" not in name]
    assert set(shared) == set(logs[1])
    for name in shared:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["backprop", "sobolev"])
def test_steps_side_by_side_change_nothing_where_critics_do_not_learn(method):
    """Three batches in executions of two and one, to the end of the data."""
    rates = (0.1, 0.0)
    models = [
        compiled(("first", "second"), method, placed, steps, rates)
        for placed, steps in ((None, 1), (THREE, 2))
    ]
    logs = [model.fit(batches(3), verbose=0, shuffle=False).history for model in models]
    assert_same(*models)
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=1e-5)


@pytest.mark.slow
def test_critics_learn_late_by_the_stages_above():
    """Against a loop by hand, in which all is eager and on one device, with plain SGD."""
    rate, critic_rate, n = 0.1, 0.05, 4
    plain = {"optimizer": keras.optimizers.SGD(rate), "rates": (rate, critic_rate)}
    model = compiled(("first", "second"), "sobolev", THREE, n, **plain)
    twin = compiled(("first", "second"))
    for a, b in zip(model.variables, twin.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    model.fit(batches(n), verbose=0, shuffle=False)
    by_hand(twin, batches(n), rate, critic_rate, late=[2, 1])
    for a, b in zip(model.trainable_variables, twin.trainable_variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    prompt = compiled(("first", "second"))
    by_hand(prompt, batches(n), rate, critic_rate, late=[0, 0])
    far = np.abs(np.subtract(prompt.critics[0].get_weights()[0], twin.critics[0].get_weights()[0]))
    assert far.max() > 1e-4  # so that the test can tell


def by_hand(model, data, rate, critic_rate, late):
    waiting = [collections.deque() for _ in late]
    for x, y, weight in data:
        for queue, steps in zip(waiting, late, strict=True):
            if len(queue) > steps:
                descend(*queue.popleft(), critic_rate)
        share = (weight / len(x))[:, None]
        tapes, ins, outs, synthetic, critic_tapes, predicted = [], [], [], [], [], []
        for k, stage in enumerate(model.stages):
            ins.append(tf.identity(outs[-1] if k else x))
            tapes.append(tf.GradientTape())
            with tapes[-1]:
                tapes[-1].watch(ins[-1])
                outs.append(stage(ins[-1], training=True))
                penalty = sum(stage.losses)
            if k < 2:
                critic_tapes.append(tf.GradientTape())
                with critic_tapes[-1], tf.GradientTape() as inner:
                    inner.watch(outs[-1])
                    logits = model.critics[k](outs[-1])
                    m = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
                with critic_tapes[-1]:
                    synthetic.append(inner.gradient(m, outs[-1]))
                predicted.append(m)
            if k == 0:
                first_penalty = penalty
        with tapes[2]:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, outs[2])
            loss = tf.reduce_sum(losses * share[:, 0])
        ends = [([outs[0], first_penalty], [synthetic[0] * share, tf.constant(1.0)])]
        ends += [([outs[1]], [synthetic[1] * share]), ([loss], [tf.constant(1.0)])]
        arriving = []
        for k, (end, seeds) in enumerate(ends):
            variables = model.stages[k].trainable_variables
            gradients, below = tapes[k].gradient(end, [variables, ins[k]], output_gradients=seeds)
            arriving.append(below)
            descend(variables, gradients, rate)
        for k in range(2):
            with critic_tapes[k]:
                target = arriving[k + 1] / share
                objective = tf.reduce_sum(share[:, 0] * tf.abs(predicted[k] - losses))
                objective += tf.reduce_sum(share * tf.abs(synthetic[k] - target))
            variables = model.critics[k].trainable_variables
            waiting[k].append((variables, critic_tapes[k].gradient(objective, variables)))
    for queue in waiting:
        for update in queue:
            descend(*update, critic_rate)


def descend(variables, gradients, rate):
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign_sub(rate * gradient)


@pytest.mark.slow
def test_variables_and_gradients_are_on_their_stage_s_device():
    model = compiled(placed="stages")
    for k, models in enumerate(zip(model.stages, [*model.critics, model.stages[1]], strict=True)):
        for variable in (v for each in models for v in each.variables):
            assert variable.value.device.endswith(TWO[k])
    for variable in model.optimizer.variables[2:]:
        assert variable.value.device.endswith(TWO["third" in variable.path])
    data = list(batches(2))
    traced = tf.function(model._train).get_concrete_function(data)
    products = [op for op in traced.graph.get_operations() if op.type == "MatMul"]
    # Forward and in weights: 4 layers (2 of the critic, whose own gradient is another 2 forward).
    assert len(products) > 2 * 2 * 4
    assert {op.device[-len(TWO[0]) :] for op in products} == set(TWO)


@pytest.mark.slow
def test_no_stage_runs_away_from_the_one_above():
    """Batch 3 enters the first stage once the second one, on its device, has seen batch 1."""
    model, data = compiled(placed=TWO), list(batches(3))
    traced = tf.function(model._train).get_concrete_function(data)
    selects = [op for op in traced.graph.get_operations() if op.type == "SelectV2"]
    (wait,) = [op for op in selects if op.inputs[1] is op.inputs[2]]
    assert wait.device.endswith(TWO[0])
    says, above = wait.inputs[0].op, set()
    while says.type not in ("Placeholder", "BiasAdd"):
        assert says.device.endswith(TWO[1])
        above.add(says.type)
        says = says.inputs[0].op
    assert says.type == "BiasAdd"
    assert says.device.endswith(TWO[1])
    assert "Less" in above


def test_a_copy_keeps_what_was_set_on_variables():
    model = net()
    kernel = model.get_layer("second").kernel
    kernel.trainable, kernel.regularizer = False, keras.regularizers.L2(0.5)
    (copy,) = placement.copy_to_devices([model], TWO[1:])
    assert copy.get_layer("second").kernel.regularizer is kernel.regularizer
    assert len(copy.trainable_variables) == len(model.trainable_variables) == 5
    np.testing.assert_allclose(sum(copy.losses), sum(model.losses), rtol=1e-6)


def test_what_a_user_does_with_a_model_works_placed(tmp_path):
    model = compiled(placed=TWO, steps=2)
    x, y, _ = next(iter(batches(1)))
    model.fit(batches(3), verbose=0, shuffle=False)
    loss = model.evaluate(batches(2), verbose=0, return_dict=True)["loss"]
    expected = model(x)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.network()(x), expected, rtol=1e-5)
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert not again.placed
    assert_same(again, model)
    assert np.isfinite(loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cuts": ("first", "second"), "placed": "stages"}, "found 2: .*set_logical_device"),
        ({"placed": ["CPU:0"]}, "expected 2 devices"),
        ({"placed": "everywhere"}, "got 'everywhere'"),
        ({"placed": ["CPU:0", "CPU:7"]}, "no device 'CPU:7' for stage 2; there are .*CPU:0"),
        ({"placed": [0, 1]}, "no device 0 for stage 1"),
        (
            {"placed": TWO, "optimizer": keras.optimizers.SGD(loss_scale_factor=128.0)},
            "loss_scale_factor takes all",
        ),
        ({"placed": TWO, "jit_compile": True}, "for one device"),
        (
            {"placed": TWO, "optimizer": keras.optimizers.SGD(global_clipnorm=1.0)},
            "clipnorm takes all",
        ),
        (
            {
                "placed": TWO,
                "optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
            },
            "LossScaleOptimizer that float16 brings takes all",
        ),
        ({"placed": TWO, "optimizer": keras.optimizers.Nadam()}, "Nadam counts its own updates"),
    ],
)
def test_what_cannot_be_placed_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        compiled(**options)


def test_no_full_backpropagation_and_no_strategy(two_replicas):
    stages = split(net(), ["second"])
    model = DecoupledModel(stages, dense_critic, gradient_target="true", placement=TWO)
    with pytest.raises(ValueError, match="full backpropagation"):
        model.compile(loss=CROSS_ENTROPY)
    with two_replicas.scope():
        model = DecoupledModel(stages, dense_critic, placement=TWO)
        with pytest.raises(ValueError, match=r"no tf\.distribute strategy"):
            model.compile(loss=CROSS_ENTROPY)


@pytest.mark.parametrize("steps", [1, *slow(2), 3])
@pytest.mark.parametrize("mapped", [*slow(False), True])
def test_a_wrong_batch_moves_no_stage(steps, mapped):
    """An execution takes all its batches before a stage begins: decay does not run ahead."""
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.1)
    model = compiled(placed=TWO, steps=steps, optimizer=optimizer)
    x, y = np.ones([24, 4], "float32"), np.zeros(24, "int64")
    x[20] = np.nan
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(6)  # the last one is wrong
    data = data.map(lambda *batch: batch) if mapped else data
    again = keras.optimizers.AdamW(0.1, weight_decay=0.1)
    other = compiled(placed=TWO, steps=steps, optimizer=again)
    whole = 3 // steps * steps
    other.fit(data.take(whole), verbose=0)
    with pytest.raises(ValueError, match=r"x \(batch 3\) has NaN, first in row 20"):
        model.fit(data, verbose=0)
    assert int(model.optimizer.iterations) == int(model.critic_optimizer.iterations) == whole
    assert_same(model, other)
    assert np.isfinite(model.fit(data.take(3), verbose=0).history["loss"][0])
