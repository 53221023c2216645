"""Figure 4 by hand, what its title says, and the best constant policy beside it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import sobolev_tf as st
from train import plot
from train.distill import __main__ as distill
from train.distill import baselines, beside, figures

COMMITTED = Path(plot.__file__).parent / "results"


def test_the_constant_policy_by_hand():
    teacher = np.log(np.float32([[0.9, 0.1], [0.1, 0.9], [0.3, 0.7]]))
    baseline = baselines.constant(teacher[:2], teacher, "student_teacher")  # [1/2, 1/2]
    divergences = [np.log(0.5**2 / (p * (1 - p))) / 2 for p in (0.9, 0.1, 0.3)]
    assert baseline["test_kl"] == pytest.approx(np.mean(divergences), rel=1e-5)
    baseline = baselines.constant(teacher, teacher, "teacher_student")  # [13/30, 17/30]
    p, q = np.exp(teacher), np.array([13 / 30, 17 / 30])
    assert baseline["test_kl"] == pytest.approx((p * np.log(p / q)).sum() / 3, rel=1e-5)
    assert baseline["test_action_error"] == pytest.approx(1 / 3)
    assert baselines.entropy(teacher) == pytest.approx(-(p * np.log(p)).sum() / 3, rel=1e-5)


@pytest.mark.parametrize("divergence", st.distillation.DIVERGENCES)
def test_no_constant_policy_is_nearer(divergence):
    rng = np.random.default_rng(0)
    teacher = 2 * rng.normal(size=[50, 4]).astype(np.float32)
    lowest = baselines.constant(teacher, teacher, divergence)["test_kl"]
    loss = st.distillation.PolicyDivergence(divergence)
    others = [loss(teacher, np.tile(rng.normal(size=4), [50, 1]).astype("f")) for _ in range(100)]
    assert lowest < min(float(other) for other in others)


def test_figure_4_by_hand():
    rows = [
        {"train_percent": p, "method": m, "step": k, "test_kl": kl, "test_action_error": kl / 10}
        for p, m, kls in ((5.0, "sobolev", [3, 2, 4]), (1.0, "values", [9, 5]))
        for k, kl in enumerate(kls)
    ]
    means = figures.later_half(rows)
    assert means[5.0, "sobolev"]["test_kl"] == (3, 2, 4)
    assert means[1.0, "values"]["test_action_error"] == (0.5, 0.5, 0.5)
    figure = figures.figure4(rows, "Distillation, pong")
    assert figure.get_suptitle() == "Distillation, pong"
    panels = np.reshape(figure.axes, [2, 3])
    assert [axis.get_ylabel() for axis in panels[:, 0]] == [*figures.MEASURES.values()]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["values only", "Sobolev"]  # though each share has one alone
    assert panels[1, 0].get_ylim()[0] == 0
    assert panels[1, 1].lines[0].get_ydata().tolist() == [30, 20, 40]  # percent
    assert panels[0, 2].lines[0].get_xydata().tolist() == [[1, 5]]


def test_figure_4_of_one_share_is_wide_and_has_the_baselines():
    rows = [
        {"train_percent": 1.0, "method": m, "step": 1, "test_kl": kl, "test_action_error": 0.3}
        for m, kl in (("values", 0.9), ("sobolev", 0.4))
    ]
    constant = {1.0: {"test_kl": 1.1, "test_action_error": 0.6}}
    figure = figures.figure4(rows, "A title", constant, values_from="another run")
    kl, error = figure.axes
    assert figure.get_figwidth() > 1.5 * figure.get_figheight()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "values only (of another run)",
        "Sobolev",
        "best constant policy",
    ]
    assert [axis.lines[-1].get_ydata()[0] for axis in (kl, error)] == [1.1, 60]


def test_a_run_of_sobolev_alone_is_compared_with_the_run_beside_it():
    rows, name = beside.values_only(COMMITTED / "distill_breakout_alpha003_seed1", [25.0])
    assert name == "distill_breakout_seed1"  # the only one of that seed
    assert {(row["method"], row["train_percent"]) for row in rows} == {("values", 25.0)}
    assert beside.values_only(COMMITTED / "distill_breakout_alpha003_seed1", [10.0]) == ([], "")
    constant = beside.constant_policies(COMMITTED / "distill_pong_seed1")
    assert constant[10.0]["test_kl"] == pytest.approx(1.252, abs=1e-3)
    assert beside.constant_policies(COMMITTED / "distill_breakout") == {}  # another recording


@pytest.mark.parametrize("name", ["metrics.csv", "summary.json", "config.json"])
def test_a_damaged_run_beside_a_run_is_passed_over(name, tmp_path):
    for folder in ("distill_breakout_alpha003_seed1", "distill_breakout_seed1"):
        shutil.copytree(COMMITTED / folder, tmp_path / folder)
    assert beside.values_only(tmp_path / "distill_breakout_alpha003_seed1", [25.0])[0]
    (tmp_path / "distill_breakout_seed1" / name).write_text("garbage")
    rows, _ = beside.values_only(tmp_path / "distill_breakout_alpha003_seed1", [25.0])
    assert rows == []


def test_what_a_search_has_chosen_is_in_the_title():
    line = "\nchosen: learning_rate=0.003, alpha=0.01"
    assert figures.chosen(COMMITTED / "distill_breakout_alpha01") == line
    assert figures.chosen(COMMITTED / "distill_breakout_long") == ""


def test_the_title_knows_every_flag_that_changes_numbers_and_its_default():
    elsewhere = {"game", "method", "train_percent"}  # shown by the figure itself
    named = {"preset"}  # shown by the values that it stands for
    no_number = {"workdir", "recording", "teacher", "eval_episodes", "save_minutes"}
    rounding = {"jit_compile", "deterministic"}
    assert set(figures.TITLE) == set(distill.FLAGS) - elsewhere - named - no_number - rounding
    assert {name: distill.FLAGS[name].default for name in figures.TITLE} == figures.TITLE


def test_a_long_title_is_broken_between_flags():
    flags = {"game": "pong", "learning_rates": ["0.01", "0.03"], "alphas": ["0.1"], "steps": 9}
    flags |= {"search_steps": 2000, "num_projections": 4}
    assert figures.heading(flags).splitlines() == [
        "Distillation, Pong, one seed",
        "steps=9, num_projections=4, learning_rates=0.01,0.03,",
        "alphas=0.1, search_steps=2000",
    ]
