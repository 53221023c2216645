"""Table 1 from run folders that are written here by hand."""

import json
from pathlib import Path

import pytest

from tests.support.image_runs import write
from train import plot
from train.lib.images import table1
from train.lib.run import compare
from train.lib.run.errors import UsageError


def test_cells_are_means_over_seeds_beside_the_paper_s(tmp_path, capsys):
    for seed, top1 in enumerate([0.6, 0.62, 0.64]):
        write(tmp_path / "a" / f"seed{seed}", top1=top1, seed=seed)
    write(tmp_path / "b", method="noprop", top1=0.4, steps=5)
    write(tmp_path / "c", method="backprop", splits="0", top1=0.75)
    plot.main([str(tmp_path / name) for name in "abc"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in [head, *rows[:7]]]
    assert cells[:7] == [
        ["held-out accuracy, %", "cifar10, 3 cuts", "paper: CIFAR-10, 3 cuts"],
        ["Noprop", "40.0", "54.5 ±1.15"],
        ["Direct SG", "-", "79.2 ±0.01"],
        ["VFBN", "-", "88.5 ±2.70"],
        ["Critic", "-", "93.2 ±0.02"],
        ["Sobolev", "62.0 ±2.00 (3 seeds)", "93.5 ±0.01"],
        ["Backprop", "75.0", "94.3"],
    ]
    assert "RUNS OF DIFFERENT LENGTH, in steps: sobolev 10, noprop 5, backprop 10" in rows[7]
    assert (tmp_path / "table1.md").read_text().startswith(head)
    assert (tmp_path / "table1.png").stat().st_size > 5000


def test_a_run_may_be_older_than_a_flag(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", seed=1, younger={"gradient_loss": "l1"})
    write(tmp_path / "c", seed=2, younger={"gradient_loss": "squared"})
    first, second, third = (table1.read(tmp_path / name) for name in "abc")
    [column] = table1.cells([first, second]).values()
    assert len(column["sobolev"]) == 2
    with pytest.raises(UsageError, match="--gradient_loss is l1 and squared"):
        table1.cells([first, third])


def test_seeds_of_one_cell_may_have_other_notices(tmp_path):
    for seed, place in enumerate(["", " in /data"]):
        notice = f"NO ImageNet IS PREPARED{place}"
        write(tmp_path / str(seed), "imagenet", dataset="shapes", seed=seed, notice=notice)
    first, second = (table1.read(tmp_path / name) for name in "01")
    [column] = table1.cells([first, second]).values()
    assert len(column["sobolev"]) == 2
    assert first.images != second.images


@pytest.mark.parametrize("top1", [float("nan"), 41.0, None])
def test_an_accuracy_is_a_share(tmp_path, top1):
    write(tmp_path / "a", top1=top1)
    with pytest.raises(UsageError, match=r"summary\.json is not a summary of train\.cifar10"):
        table1.read(tmp_path / "a")


def test_two_scripts_and_other_data_have_columns_of_their_own(tmp_path, capsys):
    write(tmp_path / "a", "imagenet", dataset="imagenet2012", splits="1", top1=0.7204, top5=0.9)
    write(tmp_path / "b", "imagenet", dataset="shapes")
    write(tmp_path / "c", "cifar10", method="backprop", top1=0.9)
    plot.main([str(tmp_path / name) for name in "abc"], tmp_path / "out")
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in head.split("|")[2:-1]] == [
        "imagenet2012, 1 cut, top-1 / top-5",
        "paper: ImageNet, 1 cut",
        "shapes, 3 cuts, top-1 / top-5",
        "paper: ImageNet, 3 cuts",
        "cifar10, no cuts",
        "paper: CIFAR-10, no cuts",
    ]
    sobolev = next(row for row in rows if "Sobolev" in row)
    assert "| 72.0 / 90.0 | 72.0 ±0.05 / 90.8 ±0.01 | 50.0 / 90.0 | 66.5 ±0.22 /" in sobolev
    assert (tmp_path / "out" / "table1.png").exists()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({}, "with seed 0: name each run once"),
        ({"seed": 1, "rate": 0.2}, "but --learning_rate is 0.1 and 0.2"),
    ],
)
def test_what_does_not_make_one_cell_is_refused(second, message, tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", **second)
    with pytest.raises(UsageError, match=message):
        plot.main([str(tmp_path / "a"), str(tmp_path / "b")])
    assert not (tmp_path / "table1.md").exists()


def test_a_table_has_one_home_or_is_printed_only(tmp_path, capsys):
    """What several runs have made is not replaced by the table of one."""
    for name in "ab":
        write(tmp_path / "runs" / name, seed=ord(name))
    write(tmp_path / "else" / "c", seed=1)
    for chosen in (["runs/a"], ["runs/a", "else/c"]):
        plot.main([str(tmp_path / name) for name in chosen])
        assert "Printed only; --workdir=FOLDER" in capsys.readouterr().out
    assert not list(tmp_path.rglob("table1.*"))
    for _ in range(2):  # the second time its own table is among what a glob finds
        plot.main([str(path) for path in (tmp_path / "runs").iterdir()])
    assert sorted(path.parent.name for path in tmp_path.rglob("table1.*")) == ["runs", "runs"]


@pytest.mark.parametrize("damage", ["{", "{}", '{"method": "sobolev", "splits": "x"}', "[]"])
def test_a_damaged_summary_is_named(damage, tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a" / "summary.json").write_text(damage)
    with pytest.raises(UsageError, match="is not a summary of"):
        plot.main([str(tmp_path / "a")])


def test_flags_that_differ_in_a_column_are_named_and_other_data_in_a_cell_refused(tmp_path, capsys):
    ten = {"critic_steps": 10}
    write(tmp_path / "a", rate=0.1, younger=ten)
    write(tmp_path / "b", method="noprop", rate=0.4)
    plot.main([str(tmp_path / name) for name in "ab"])
    printed = capsys.readouterr().out
    assert "RUNS OF DIFFERENT --learning_rate: sobolev 0.1, noprop 0.4." in printed
    assert "--critic_steps" not in printed  # noprop has no critics
    write(tmp_path / "c", seed=1, younger=ten)
    path = tmp_path / "c" / "summary.json"
    path.write_text(path.read_text().replace('"cifar10", ', '"cifar10", "train_size": 9, '))
    with pytest.raises(UsageError, match=r"--dataset is .* and .*9"):
        plot.main([str(tmp_path / name) for name in "ac"])


def test_runs_cut_after_other_layers_are_named(tmp_path, capsys):
    write(tmp_path / "a", splits="1", cuts=["conv2"])
    write(tmp_path / "b", splits="1", cuts=["conv2"], method="noprop")
    write(tmp_path / "c", splits="1", cuts=["conv5"], method="backprop")  # which is not cut
    plot.main([str(tmp_path / name) for name in "abc"])
    assert "DIFFERENT" not in capsys.readouterr().out
    write(tmp_path / "d", splits="1", cuts=["conv5"], method="critic")
    plot.main([str(tmp_path / name) for name in "abcd"])
    printed = capsys.readouterr().out
    assert "RUNS OF DIFFERENT --cuts: sobolev conv2, noprop conv2, critic conv5." in printed


def test_only_methods_that_use_a_flag_can_differ_in_it(tmp_path, capsys):
    write(tmp_path / "a", younger={"gradient_loss": "mae", "critic_steps": 2})
    for name, method in {"b": "critic", "c": "noprop"}.items():  # neither learns gradients
        write(tmp_path / name, method=method, younger={"gradient_loss": "l1", "critic_steps": 1})
    plot.main([str(tmp_path / name) for name in "abc"])
    printed = capsys.readouterr().out
    assert "RUNS OF DIFFERENT --critic_steps: sobolev 2, critic 1." in printed
    assert "DIFFERENT --gradient_loss" not in printed


def test_the_summary_of_another_run_is_noticed(tmp_path):
    write(tmp_path / "a")
    for name, change in (("config", {"id": "a"}), ("summary", {"run": "b"})):
        path = tmp_path / "a" / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UsageError, match="it is the file of run b, expected that of run a"):
        plot.main([str(tmp_path / "a")])
    assert compare.headline(tmp_path / "a") == ("", None, "")


def draw(runs, path):
    table1.draw(table1.cells(table1.read(run) for run in runs), path)


def test_the_paper_s_squares_are_drawn_on_its_own_data_only(tmp_path, saved_figures):
    write(tmp_path / "a")
    write(tmp_path / "b", seed=1)
    write(tmp_path / "c", "imagenet", dataset="tiny_imagenet50, 10 classes")
    draw([tmp_path / "a", tmp_path / "b", tmp_path / "c"], tmp_path / "t.png")
    [figure] = saved_figures
    cifar10, tiny = figure.axes
    assert [text.get_text() for text in tiny.texts] == ["50.0"]
    assert "93.5" in [text.get_text() for text in cifar10.texts]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "here: 2 seeds",
        "paper: CIFAR-10, full size",
        "here: one seed",
    ]
    assert cifar10.get_xlim() == tiny.get_xlim() == (0, 100)


def test_the_legend_has_the_size_of_the_runs(tmp_path, saved_figures):
    results = Path(plot.__file__).parent / "results/cifar10"
    draw([results / "sobolev", results / "backprop"], tmp_path / "t.png")
    [figure] = saved_figures
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "here: quarter width, 4 epochs, one seed",
        "paper: CIFAR-10, full size",
        "chance",
    ]
