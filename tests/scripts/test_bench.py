"""The bench runs and reports; what it measures is judged by people, on a quiet machine."""

import json

import keras
import numpy as np
import pytest

from train.bench import __main__ as bench
from train.bench import (
    architectures,
    atari,
    cost,
    decoupled,
    distill,
    exactness,
    imagenet,
    jacobians,
    peers,
    quickstart,
    regression,
    share,
    speed,
    stages,
    surrogates,
)


@pytest.mark.slow
def test_speed_and_quick_start_in_miniature(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)  # peers have their time
    rows = dict([*speed.rows(turns=1, steps=50), *quickstart.rows(seeds=[0], steps=100)])
    assert len(rows) == 25
    assert all(number > 0 for number in rows.values())


@pytest.mark.slow
def test_the_jacobians_suite_in_miniature(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    rows = dict(jacobians.rows(turns=1, calls=1, shapes=("3 -> 400",)))
    assert len(rows) == 6
    assert all(number > 0 for number in rows.values())


@pytest.mark.slow
def test_the_atari_suite_in_miniature(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    rows = dict(atari.rows(turns=1, steps=128))
    assert len(rows) == 5
    assert all(number > 0 for number in rows.values())


@pytest.fixture
def small(monkeypatch):
    for name, size in {"WIDTH": 32, "BATCH": 8, "INPUTS": 4}.items():
        monkeypatch.setattr(cost, name, size)


@pytest.mark.usefixtures("small")
def test_arithmetic_is_counted_in_the_graph():
    plain = cost.products(cost._plain(1), cost._batch(1, 0))
    # Forward, and backward in weights and activations; nothing goes back to the inputs.
    edges = [(4, 32), (32, 32), (32, 32), (32, 32), (32, 1)]
    assert plain == sum(2 * 8 * a * b * (2 if i == 0 else 3) for i, (a, b) in enumerate(edges))


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_cost_suite_in_miniature():
    rows = dict(cost.rows(turns=1, calls=1))
    assert rows["first order over plain, 4x1024: ratio of arithmetic counts"] == pytest.approx(
        2, rel=0.15
    )
    assert rows["84x84x4, 6 outputs, batch 200: largest tensor over the Jacobian (bar < 1)"] < 1


@pytest.mark.slow
def test_the_exactness_suite_and_its_file(run_script, tmp_path):
    code, out, err = run_script(bench, "--suite=exactness", f"--workdir={tmp_path}")
    assert code == 0, err
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    *lines, took = out.splitlines()
    assert len(rows) == len(lines) == 24
    assert took.startswith("Took ")
    for row in rows:
        if "error" in row["name"] or "gradient of the loss" in row["name"]:
            assert row["number"] < 1e-5, row
        else:
            assert row["number"] == pytest.approx(1, abs=0.03), row


def test_a_wrong_derivative_is_seen():
    net = exactness.dense_net()
    x = np.random.default_rng(0).normal(size=(2, 3))
    wrong = exactness.derivative_error(net, x, 1, step=1.0)
    assert wrong > 1e-3 > 1e-6 > exactness.derivative_error(net, x, 1)


def test_a_file_in_place_of_the_folder_is_refused_before_measuring(run_script, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = run_script(bench, f"--workdir={tmp_path / 'file'}")
    assert code == 2
    assert "cannot make the folder" in err


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--suite=exactness", "--minutes=1"], "--minutes is not for --suite=exactness"),
        (["--learner=JENN"], "--learner is not for --suite=all, only for --suite=engineering"),
    ],
)
def test_flags_of_another_suite_are_refused(run_script, typed, message):
    code, _, err = run_script(bench, *typed)
    assert code == 2
    assert message in err


def test_an_unknown_suite_is_one_line_and_exit_code_2(run_script):
    code, _, err = run_script(bench, "--suite=all_of_it")
    assert (code, err.count("\n")) == (2, 1)
    assert "expected all or exactness" in err


def test_what_was_measured_stays_if_a_later_suite_fails(run_script, monkeypatch, tmp_path):
    def fails():
        raise FloatingPointError("lost")

    suites = {"exactness": lambda: iter([("an error", 1e-9)]), "cost": fails}
    monkeypatch.setattr(bench, "SUITES", suites)
    code, _, err = run_script(bench, f"--workdir={tmp_path}")
    assert code == 1, err
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert rows == [{"name": "an error", "number": 1e-9}]


@pytest.mark.slow
def test_a_decoupled_step_is_counted_and_timed(monkeypatch):
    monkeypatch.setattr(decoupled, "SIDE", 32)
    monkeypatch.setattr(decoupled, "BATCH", 2)
    monkeypatch.setattr(decoupled.imagenet, "resnet50", _small)
    monkeypatch.setitem(decoupled.imagenet.CUTS, 3, ["first"])
    rows = dict(decoupled.step(turns=1, calls=1))
    count, ratio, seconds = rows.values()
    assert count > 1  # the critic is wider than the net
    assert min(ratio, seconds) > 0


@pytest.mark.slow
def test_days_follow_from_steps_and_rates(monkeypatch):
    for name, small in {"SIDE": 32, "BATCH": 2, "METHODS": ["noprop"]}.items():
        monkeypatch.setattr(imagenet, name, small)
    monkeypatch.setattr(decoupled.imagenet, "resnet50", _small)
    for cuts in (1, 3):
        monkeypatch.setitem(decoupled.imagenet.CUTS, cuts, ["first"])
    rows = dict(imagenet.rows(turns=1, calls=1))
    ratio = rows["noprop, 1 cut: ratio of steps"]
    days = rows["noprop, 1 cut: days of 200,000 updates on 8 x V100, float32"]
    assert days == pytest.approx(ratio * 200_000 * 1088 / (8 * 412) / 86400)
    assert rows["backprop: ratio of steps"] == 1


@pytest.mark.data
def test_images_are_timed_in_both_pipelines():
    rows = dict(decoupled.pipeline(turns=1, batches=2, batch_size=4, size=32))
    assert len(rows) == 6
    assert min(rows.values()) > 0


def _small(side, classes):
    h = inputs = keras.Input([side, side, 3])
    h = keras.layers.Conv2D(4, 3, use_bias=False, name="first")(h)
    h = keras.layers.Conv2D(8, 3)(h)
    return keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.Flatten()(h)))


@pytest.mark.slow
def test_steps_of_distillation_are_counted_and_timed(monkeypatch):
    monkeypatch.setattr(distill, "BATCH", 2)
    rows = dict(distill.rows(turns=1, calls=1))
    assert len(rows) == 5
    assert min(rows.values()) > 0
    assert rows[f"{distill.RATIO}: arithmetic counts"] == pytest.approx(4.8, rel=0.02)


def test_convolutions_are_counted():
    """Forward, and backward in the kernel: nothing goes back to the image."""
    inputs = keras.Input([6, 6, 2])
    net = keras.Model(inputs, keras.layers.Conv2D(5, 3, use_bias=False)(inputs))
    net.compile("sgd", "mse")
    images = np.zeros([7, 6, 6, 2], "float32"), np.zeros([7, 4, 4, 5], "float32")
    assert cost.products(net, images) == 2 * (2 * 7 * 4 * 4 * 5 * 3 * 3 * 2)


@pytest.mark.slow
def test_the_peers_suite_in_miniature(monkeypatch):
    """Without peers: both presets of ours, and no bar to meet."""
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    small = {"steps": 2, "hidden": ["4"], "batch_size": 3}
    rows = dict(regression.rows(["booth"], sizes=[6], changes=small))
    assert list(rows) == [
        f"booth, 6 points, sobolev_tf, {preset}: {measure}"
        for preset in ("modern", "paper")
        for measure in ("test RMSE", "gradient RMSE", "seconds")
    ]
    assert all(number > 0 for number in rows.values())


def test_a_peer_that_fails_is_one_line(capsys):
    assert surrogates.predictions("JENN", {"x": np.zeros([1, 2])}) is None
    err = capsys.readouterr().err
    assert err.startswith("JENN: failed, ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("find", "names"),
    [
        (surrogates.installed, surrogates.PEERS),
        (lambda: peers.loops(peers.MAKERS, 1), peers.MAKERS),
    ],
)
def test_a_peer_that_is_missing_is_one_line(find, names, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    assert not list(find())
    for line, name in zip(capsys.readouterr().err.splitlines(), names, strict=True):
        assert line.startswith(f"{name}: skipped, ")
        assert line.endswith('not installed (pip install -e ".[bench]")')


@pytest.mark.slow
def test_stages_on_two_workers_in_miniature(monkeypatch):
    monkeypatch.setattr(stages, "SIDE", 4)
    monkeypatch.setattr(stages, "CHANNELS", 4)
    rows = dict(stages.rows(turns=1, calls=1))
    assert len(rows) == 10
    assert all(number > 0 for number in rows.values())


@pytest.mark.slow
def test_the_share_suite_in_miniature():
    rows = dict(share.rows(steps=8, seeds=[0], points=64))
    assert len(rows) == 2 * 3 * 2 + 3 * (3 * (1 + 2 * 2) + 2 * 2)
    assert all(np.isfinite(number) for number in rows.values())
    assert (
        rows["basket of 7, 4x20, derivatives of 1 of the rows: seconds a step over the full term's"]
        == 1
    )


def test_attention_is_counted():
    """One head of width 4 on 3 tokens: four products with kernels, and two of tokens by tokens."""
    inputs = keras.Input([3, 4])
    layer = keras.layers.MultiHeadAttention(1, 4, flash_attention=False)
    model = keras.Model(inputs, layer(inputs, inputs))
    model.compile("sgd", "mse")
    data = np.zeros([2, 3, 4], "float32"), np.zeros([2, 3, 4], "float32")
    kernels, tokens = 4 * 2 * (2 * 3 * 4 * 4), 2 * 2 * (2 * 3 * 3 * 4)
    # Backward, each product has two of its size; but none goes back to the three kernels' inputs.
    assert cost.products(model, data) == 3 * (kernels + tokens) - 3 * kernels // 4


@pytest.mark.slow
def test_the_architectures_suite_in_miniature(monkeypatch):
    monkeypatch.setattr(architectures, "BATCH", 2)
    monkeypatch.setattr(architectures, "NETS", {"LSTM": architectures.lstm})
    rows = dict(architectures.rows(turns=1, calls=1))
    assert rows["LSTM: Sobolev step over plain"] > 0
    assert 1.5 < rows["LSTM: ratio of arithmetic counts"] < 2.5
    assert len(rows) == 6
