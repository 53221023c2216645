"""PolicyDistiller: section 4.2's objective by hand, and everything that Keras's models can do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import PolicyDistiller, distillation, jets, nets, targets
from train.lib.atari import policies

# Keras's own save calls np.array on a variable in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FRAMES = np.random.default_rng(0).integers(0, 256, [10, 6, 6, 2], dtype=np.uint8)
WEIGHTS = np.random.default_rng(1).uniform(0.5, 2, 10).astype("float32")


def policy(actions=3, dtype="float32", scale=1 / 255, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input([6, 6, 2], dtype=dtype if dtype == "float64" else None),
            keras.layers.Rescaling(scale, dtype=dtype),
            keras.layers.Conv2D(4, 3, activation="tanh", dtype=dtype),
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(actions, dtype=dtype),
        ]
    )


def distiller(teacher=None, student=None, eager=True, **kwargs):
    """Eager, unless a test is about `fit`: tracing a step takes longer than running some."""
    model = PolicyDistiller(student or policy(seed=1), teacher or policy(seed=2), seed=5, **kwargs)
    model.compile(keras.optimizers.Adam(1e-2), run_eagerly=eager)
    return model


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def kl(p, q):
    return (np.exp(p) * (p - q)).sum(-1)


@pytest.mark.parametrize("divergence", distillation.DIVERGENCES)
def test_the_objective_by_hand_and_its_gradient_by_finite_differences(divergence):
    """In float64, with α, sample weights, B, A and P that are not 1."""
    student, teacher = (policy(dtype="float64", seed=seed) for seed in (1, 2))
    x = tf.constant(FRAMES, tf.float64)
    model = PolicyDistiller(
        student, teacher, alpha=0.7, divergence=divergence, uint8_images=True, projections=2, seed=5
    )
    model.compile("sgd", run_eagerly=True)

    def by_hand():
        (ours, slopes), (theirs, true) = (
            (jet.value.numpy(), jet.derivatives[0].numpy())
            for net in (student, teacher)
            for jet in [jets.jet(lambda s, net=net: tf.nn.log_softmax(net(s)), x)]
        )
        pair = (ours, theirs) if divergence == "student_teacher" else (theirs, ours)
        v = model.projection.sample(0).directions(tf.constant(ours), 0)
        np.testing.assert_allclose(tf.norm(v, axis=2), 255)
        difference = np.einsum("bpa,ba...->bp...", v, slopes - true)
        norms = np.sqrt((difference**2).sum((2, 3, 4))).mean(1)
        return kl(*pair), norms

    values, norms = by_hand()
    logs = {k: float(v) for k, v in model.test_step((x, None, WEIGHTS)).items()}
    assert logs["value_loss"] == pytest.approx(np.mean(WEIGHTS * values), rel=1e-5)
    assert logs["d1_loss"] == pytest.approx(np.mean(WEIGHTS * norms), rel=1e-5)
    assert logs["loss"] == pytest.approx(np.mean(WEIGHTS * (values + 0.7 * norms)), rel=1e-5)
    assert logs["kl"] == pytest.approx(np.average(values, weights=WEIGHTS), rel=1e-5)
    stored = teacher(x).numpy()
    logs = model.evaluate(FRAMES, stored, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(np.mean(WEIGHTS * values), rel=1e-5)

    def loss():
        values, norms = by_hand()
        return np.mean(WEIGHTS * (values + 0.7 * norms))

    model.reset_metrics()  # as an evaluation begins, with the directions of its first batch
    with tf.GradientTape() as tape:
        ours, _ = model._step((x, None, WEIGHTS), training=False)
    gradients = tape.gradient(ours, student.trainable_variables)
    rng = np.random.default_rng(0)
    for variable, gradient in zip(student.trainable_variables, gradients, strict=True):
        along, before = rng.normal(size=variable.shape), variable.numpy()
        ends = []
        for side in (1e-5, -1e-5):
            variable.assign(before + side * along)
            ends.append(loss())
        variable.assign(before)
        assert np.sum(gradient * along) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_directions_are_on_the_sphere_of_actions_and_drawn_anew():
    model = distiller(projections=4, uint8_images=True)
    v = [model.projection.sample(step).directions(tf.zeros([10, 3]), 0) for step in (1, 2)]
    assert v[0].shape == [10, 4, 3]
    np.testing.assert_allclose(tf.norm(v[0], axis=2), 255, rtol=1e-5)
    assert tf.reduce_max(tf.abs(v[0] - v[1])) > 0.1


def test_metrics_by_hand():
    true = np.log([[0.7, 0.3], [0.2, 0.8]])
    predicted = np.log([[0.5, 0.5], [0.9, 0.1]]) + 3  # logits of any offset
    predicted[0, 0] += 0.1
    logs = log_softmax(predicted)
    metric = distillation.KL("teacher_student")
    metric.update_state(true, predicted, sample_weight=[1.0, 3.0])
    assert float(metric.result()) == pytest.approx(np.average(kl(true, logs), weights=[1, 3]))
    metric = distillation.ActionError()
    metric.update_state(true, predicted, sample_weight=[1.0, 3.0])
    assert float(metric.result()) == 0.75


def test_regular_distillation_reads_stored_logits_without_a_teacher():
    teacher, after = policy(seed=2), []
    logits = teacher.predict(FRAMES, verbose=0) + 7  # any offset says the same
    for data in ({"x": FRAMES, "y": logits}, {"x": FRAMES.astype("float32")}):
        model = PolicyDistiller(policy(seed=1), None if "y" in data else teacher, alpha=0)
        model.compile("adam", run_eagerly="y" not in data)
        model.fit(**data, shuffle=False, epochs=3, verbose=0)
        after.append([w.numpy() for w in model.net.weights])
    for stored, live in zip(*after, strict=True):
        np.testing.assert_allclose(stored, live, rtol=1e-4, atol=1e-6)


def test_stored_logits_beside_a_live_teacher_are_the_values_and_the_gradients_are_its_own():
    other = np.random.default_rng(0).normal(size=[10, 3]).astype("float32")
    live, stored = distiller(alpha=0.3), distiller(alpha=0.3)
    for model, data in ((live, (FRAMES, None, None)), (stored, (FRAMES, other, None))):
        _, true, predicted, *_ = model._compare(data, training=True, fold=False)
        expected = log_softmax(other) if model is stored else true["value"]
        np.testing.assert_allclose(true["value"], expected, rtol=1e-5)
        assert true["d1"].shape == predicted["d1"].shape == [10, 1, 6, 6, 2]
        model.slopes = true["d1"]
    np.testing.assert_allclose(live.slopes, stored.slopes, rtol=1e-5)
    logs = stored.evaluate(FRAMES, other, verbose=0, return_dict=True)
    assert sorted(logs) == ["action_error", "kl", "loss", "value_loss"]  # values alone
    history = stored.fit(FRAMES, other, validation_data=(FRAMES, other), verbose=0).history
    assert {"d1_loss", "val_kl", "val_action_error"} <= history.keys()


def test_frames_are_differentiated_between_0_and_1():
    """A student of bytes and one of their share of 255 have the same loss."""
    bytes_, shares = (
        distiller(policy(scale=s, seed=2), policy(scale=s, seed=1)) for s in (1 / 255, 1)
    )
    ours = bytes_.evaluate(FRAMES, verbose=0, return_dict=True)
    theirs = shares.evaluate(FRAMES / np.float32(255), verbose=0, return_dict=True)
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert (bytes_.uint8_images, shares.uint8_images) == (True, False)
    floats = bytes_.evaluate(FRAMES.astype("float32"), verbose=0, return_dict=True)
    assert floats == pytest.approx(ours)  # what the first data decided stays
    with pytest.raises(ValueError, match=r"^PolicyDistiller\.evaluate: s is uint8, but the first"):
        shares.evaluate(FRAMES, verbose=0)
    slopes = [
        model.predict_jet(s).derivatives[0]
        for model, s in ((bytes_, FRAMES), (shares, FRAMES / np.float32(255)))
    ]
    np.testing.assert_allclose(*slopes, rtol=1e-4, atol=1e-5)


def test_exported_products_are_with_respect_to_shares_of_255(tmp_path):
    model = distiller(uint8_images=True)
    d1 = model.predict_jet(FRAMES).derivatives[0]
    model.export(tmp_path / "saved")
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures
    rng = np.random.default_rng(0)
    u, v = (rng.normal(size=shape).astype("float32") for shape in ([10, 3], FRAMES.shape))
    gradient = served["vjp"](x=tf.constant(FRAMES), u=u)["vjp"]
    np.testing.assert_allclose(gradient, np.einsum("bahwc,ba->bhwc", d1, u), rtol=1e-3, atol=1e-5)
    tangent = served["jvp"](x=tf.constant(FRAMES), v=v)["jvp"]
    np.testing.assert_allclose(tangent, np.einsum("bahwc,bhwc->ba", d1, v), rtol=1e-3, atol=1e-4)


def test_an_older_file_names_its_images_frames():
    config = distiller(alpha=0.3, uint8_images=True).get_config()
    config["frames"] = config.pop("uint8_images")
    again = PolicyDistiller.from_config(config)
    assert (again.uint8_images, again.projection.length) == (True, 255)


def test_a_student_learns_its_teacher():
    model = distiller(alpha=0.1, eager=False)
    history = model.fit(FRAMES, steps_per_epoch=20, epochs=3, batch_size=10, verbose=0).history
    assert history["kl"][-1] < history["kl"][0] / 3
    assert history["d1_loss"][-1] < history["d1_loss"][0]
    np.testing.assert_allclose(np.exp(model.predict(FRAMES, verbose=0)).sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(  # the teacher stays as it was
        model.target.model.weights[0].numpy(), policy(seed=2).weights[0].numpy()
    )


def test_a_saved_distiller_goes_on_exactly(tmp_path):
    model = distiller(alpha=0.3, divergence="teacher_student", projections=2)
    model.fit(FRAMES, epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    settings = (again.alpha, again.divergence, again.uint8_images, again.projection.count)
    assert settings == (0.3, "teacher_student", True, 2)
    expected = model.evaluate(FRAMES, verbose=0, return_dict=True)
    assert again.evaluate(FRAMES, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-5)
    for trained in (model, again):
        trained.fit(FRAMES, shuffle=False, verbose=0)
    for ours, theirs in zip(model.net.weights, again.net.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-6)


def test_a_code_teacher_is_set_again_after_loading(tmp_path):
    net = policy(seed=2)
    model = distiller(teacher=lambda frames: 2 * net(frames), alpha=0.3)
    model.fit(FRAMES, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(FRAMES, verbose=0), model.predict(FRAMES, verbose=0))
    with pytest.raises(ValueError, match="there is no teacher: give one"):
        again.fit(FRAMES, np.zeros([10, 3], "f"), verbose=0)
    again.target = model.target
    again.fit(FRAMES, verbose=0)


def test_the_exported_student_takes_bytes_and_plays(tmp_path):
    model = PolicyDistiller(nets.atari_student(4))
    frames = np.random.default_rng(0).integers(0, 256, [3, 84, 84, 4], dtype=np.uint8)
    expected = model.predict(frames, verbose=0)
    model.export(tmp_path / "saved")
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures
    assert served["serving_default"].structured_input_signature[1]["x"].dtype == tf.uint8
    np.testing.assert_allclose(
        served["serving_default"](tf.constant(frames))["value"], expected, atol=1e-5
    )
    logits, _ = policies.load(tmp_path / "saved", "breakout")(frames)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    gradient = served["jet"](tf.constant(frames))["d1"]
    np.testing.assert_allclose(gradient, model.predict_jet(frames).derivatives[0], atol=1e-6)


def test_half_precision():
    model = distiller(student=policy(dtype="mixed_float16", seed=1), alpha=0.1)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    history = model.fit(FRAMES, epochs=6, verbose=0).history
    assert history["kl"][-1] < history["kl"][0]
    assert model.predict(FRAMES, verbose=0).dtype == "float32"


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"alpha is a finite number of at least 0, got -1"):
        PolicyDistiller(policy(), alpha=-1)
    with pytest.raises(
        ValueError, match=r"Distiller: divergence is 'student_teacher' or .*, got 'kl'"
    ):
        PolicyDistiller(policy(), divergence="kl")
    with pytest.raises(ValueError, match=r"the target answers .*4\], the net .*3\]"):
        distiller(policy(4)).evaluate(FRAMES, verbose=0)
    model = PolicyDistiller(policy())
    model.compile(run_eagerly=True)
    with pytest.raises(ValueError, match=r"alpha=1.0 learns from a teacher's input gradients"):
        model.fit(FRAMES, np.zeros([10, 3], "f"), verbose=0)
    with pytest.raises(ValueError, match="leave adapt out"):
        distiller().adapt(FRAMES)
    both = keras.Model((inputs := keras.Input([6, 6, 2])), [inputs, policy()(inputs)])
    with pytest.raises(ValueError, match=r"has the outputs \[0, 1\]: choose one"):
        distiller(both).fit(FRAMES, verbose=0)
    distiller(targets.Teacher(both, output=1)).fit(FRAMES, verbose=0)


def test_whole_numbers_are_logits_and_class_numbers_are_not():
    student = PolicyDistiller(policy(), alpha=0)
    student.compile("sgd", run_eagerly=True)
    logits = np.arange(30).reshape(10, 3) % 7
    losses = [student.evaluate(FRAMES, each, verbose=0)[0] for each in (logits, logits * 1.0)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    with pytest.raises(ValueError, match=r"label value has shape \[10\], expected \[B, 3\]"):
        student.fit(FRAMES, logits[:, 0], verbose=0)
