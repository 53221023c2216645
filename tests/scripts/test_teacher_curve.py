"""Axes, labels and the title of the teachers' learning curves."""

import json
from pathlib import Path

import pytest

from train.teacher import curve

RESULTS = Path(curve.__file__).parents[1] / "results"


@pytest.mark.parametrize(
    ("game", "bottom", "flags"),
    [
        (
            "space_invaders",
            0,
            "\nunroll_length=5, optimizer=rmsprop,\nlearning_rate=0.0007, value_cost=0.25, "
            "gae_lambda=1.0,\nnormalize_advantages=False",
        ),
        ("pong", -21.5, ""),
    ],
)
def test_a_curve_has_random_play_and_the_released_checkpoint(
    game, bottom, flags, tmp_path, saved_figures
):
    curve.draw(RESULTS / f"teacher_{game}", tmp_path)
    [axis] = saved_figures[0].axes
    assert axis.get_ylim()[0] == bottom
    assert axis.get_xlim()[0] == 0
    assert axis.get_title() == f"A3C on {game.replace('_', ' ').title()}, one seed{flags}"
    assert axis.get_legend() is None
    [star] = [line for line in axis.lines if line.get_label() == "released"]
    card = json.loads((RESULTS.parent / "teachers" / f"{game}.json").read_text())
    assert star.get_xydata().tolist() == [[card["steps"] / 1e6, card["mean_score"]]]
    assert {text.get_text().split("\n")[0] for text in axis.texts} == {
        "released (star):",
        "score",
        "training_score",
        "random play",
    }


def test_another_run_has_released_nothing():
    config = json.loads((RESULTS / "teacher_pong" / "config.json").read_text())
    assert curve.released(config)["game"] == "pong"
    assert curve.released(config | {"commit": "another"}) is None
    assert curve.released({"flags": {"game": "pong"}}) is None
