"""Table, figure and title of a run, from rows that are written here."""

import json
import types
from pathlib import Path

import pytest

from tests.support.image_runs import write
from train import plot
from train.lib.images import critic_flags, figure, report, run_figure, table1
from train.lib.run import metrics_csv, run_folder
from train.lib.run.settings import Settings

ROWS = [{"step": s, "accuracy": 0.1, "val_accuracy": 0.2} for s in (1, 2)]
CUT_ROWS = [row | {"cut1_cosine": 0.1, "cut1_norm_ratio": 1.5, "cut1_loss": 1.0} for row in ROWS]


def labels(axis):
    """Those at the ends of the lines, from below."""
    texts = sorted(axis.texts, key=lambda text: text.get_position()[1])
    return [text.get_text() for text in texts]


def test_figure_without_cuts(tmp_path, saved_figures):
    figure.draw(tmp_path / "plain.png", "A title", ROWS, [], {"chance": 0.1})
    assert (tmp_path / "plain.png").stat().st_size > 5000
    [axis] = saved_figures[0].axes
    assert labels(axis) == ["accuracy\n(training)", "chance", "val_accuracy"]
    assert axis.get_ylim()[0] == 0


def test_figure_with_a_cut(tmp_path, saved_figures):
    baselines = {"noprop": 0.15, "chance": 0.05}
    figure.draw(tmp_path / "cut.png", "A title", CUT_ROWS, ["conv1"], baselines)
    [result] = saved_figures
    accuracy, cosine, norm_ratio = result.axes
    assert labels(accuracy) == ["chance", "accuracy\n(training)", "noprop", "val_accuracy"]
    assert labels(cosine) == labels(norm_ratio) == ["cut 1"]
    assert cosine.get_ylim() == (0, 1)
    assert norm_ratio.get_ylim()[1] > 1.5
    assert result.get_suptitle() == "A title"
    assert all(axis.get_legend() is None for axis in result.axes)


def test_an_axis_of_cosines_goes_as_low_as_they_do(tmp_path, saved_figures):
    rows = [CUT_ROWS[0] | {"cut1_cosine": -0.3}, CUT_ROWS[1]]
    figure.draw(tmp_path / "cut.png", "A title", rows, ["conv1"], {})
    assert saved_figures[0].axes[1].get_ylim() == (-0.3, 1)


def test_runs_beside_a_run_are_its_baselines(tmp_path):
    """Only those that differ in their method alone, or in flags of critics, which they lack."""
    write(tmp_path / "a", younger={"critic_steps": 10})
    write(tmp_path / "b", method="noprop", top1=0.2, notice="in other words")
    write(tmp_path / "c", method="backprop", splits="0", top1=0.7)
    write(tmp_path / "d", method="noprop", top1=0.3, seed=1)
    write(tmp_path / "e", method="noprop", top1=0.4, splits="1")
    write(tmp_path / "f", method="backprop", splits="0", top1=0.8, steps=20)
    write(tmp_path / "g", method="noprop", top1=0.6, rate=0.2)
    write(tmp_path / "h", method="vfbn", top1=0.6)
    write(tmp_path / "i", method="noprop", top1=0.5, cuts=["conv0", "conv1", "conv9"])
    result = table1.read(tmp_path / "a")
    shares = run_figure.baselines(result, {"chance": 0.1})
    assert shares == {"chance": 0.1, "noprop": 0.2, "backprop": 0.7}


@pytest.mark.parametrize("name", ["baselines", "floors"])  # the second, in older runs
def test_a_run_s_own_baselines_are_those_of_its_summary(name):
    shares = {"chance": 0.1, "logistic regression on pixels": 0.3}
    assert run_figure.own_baselines({name: shares}) == shares
    for wrong in ({"chance": "0.1"}, {"chance": 10.0}, [0.1], None):
        with pytest.raises((ValueError, TypeError)):
            run_figure.own_baselines({name: wrong})


def finished(run, num_classes=10):
    """Finish a run of one step; return the baselines in its summary."""
    values = {"method": "backprop", "batch_size": 4, "seed": 0, "pixel_baseline": False}
    facts = {"name": "shapes", "classes": num_classes}
    images = types.SimpleNamespace(num_classes=num_classes, notice="", describe=lambda: facts)
    logs = {"accuracy": 0.5, "top5": 0.5, "val_accuracy": 0.5, "val_top5": 0.5}
    row = {"epoch": 1, "step": 1, "seconds": 1.0, **logs}
    (run.folder / "metrics.csv").write_bytes(metrics_csv.as_csv([row], header=True))
    report.finish(run, Settings(values, frozenset()), "A net", images, [], [row], 0.0)
    return json.loads((run.folder / "summary.json").read_text())["baselines"]


def test_a_run_that_is_finished_again_keeps_its_measured_baseline(tmp_path):
    measured = {"chance": 0.1, "logistic regression on pixels": 0.3}
    with run_folder.Run(tmp_path, {"seed": 0}, "cifar10") as run:
        run.add_facts()
        assert finished(run) == {"chance": 0.1}
        for name, of, expected in (
            ("baselines", run.id, measured),
            ("floors", run.id, measured),
            ("baselines", "another", {"chance": 0.1}),
            ("none", run.id, {"chance": 0.1}),
        ):
            run.write_summary({"run": of, name: measured})
            assert finished(run) == expected


def test_a_single_run_is_drawn_with_what_it_was_in_its_title(tmp_path, monkeypatch, capsys):
    titles = []
    monkeypatch.setattr(run_figure.figure, "draw", lambda *arguments: titles.append(arguments[1]))
    run = Path(run_figure.__file__).parents[2] / "results/cifar10/sobolev"
    plot.main([run], tmp_path)
    assert f"{tmp_path}/sobolev/figure.png" in capsys.readouterr().out
    assert titles == [
        "The paper's net on cifar10, Sobolev, 3 cuts\nquarter width, 4 epochs, one seed (0)"
    ]


def test_a_title_has_the_flags_that_were_typed():
    values = {"method": "sobolev", "steps": 20, "workdir": "x", "l2": 0.0, "augmentation": "flip"}
    values["seed"] = 3
    settings = Settings(values, frozenset(values) - {"augmentation", "seed"})
    assert report.flags_of_title(settings) == ["--l2=0.0", "--seed=3", "--steps=20"]


@pytest.mark.parametrize(
    ("method", "num_cuts", "unused"),
    [
        ("sobolev", 3, ["--direct_init"]),
        ("critic", 1, ["--direct_init", "--gradient_loss"]),
        ("direct", 1, []),
        ("noprop", 3, ["--critic_steps", "--direct_init", "--gradient_loss"]),
        ("sobolev", 0, ["--critic_steps", "--direct_init", "--gradient_loss"]),
    ],
)
def test_flags_of_critics_that_a_method_does_not_use_are_named(method, num_cuts, unused):
    typed = {"steps", "critic_steps", "gradient_loss", "direct_init"}
    settings = Settings({"method": method}, frozenset(typed))
    assert critic_flags.without_effect(settings, num_cuts) == unused
