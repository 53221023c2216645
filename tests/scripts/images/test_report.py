"""Table, figure and title of a run, from rows that are written here."""

from matplotlib import figure as matplotlib_figure

from train.lib.images import figure, report
from train.lib.run.settings import Settings

ROWS = [{"step": s, "accuracy": 0.1, "val_accuracy": 0.2} for s in (1, 2)]
CUT_ROWS = [row | {"cut1_cosine": 0.1, "cut1_norm_ratio": 1.5, "cut1_loss": 1.0} for row in ROWS]


def drawn(monkeypatch, path, rows, cuts, baselines):
    """Draw, and return Matplotlib's figure."""
    figures = []

    class Kept(matplotlib_figure.Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            figures.append(self)

    monkeypatch.setattr(matplotlib_figure, "Figure", Kept)
    figure.draw(path, "A title", rows, cuts, baselines)
    assert path.stat().st_size > 5000
    return figures[0]


def labels(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_figure_without_cuts(tmp_path, monkeypatch):
    [axis] = drawn(monkeypatch, tmp_path / "plain.png", ROWS, [], {"chance": 0.1}).axes
    assert labels(axis) == ["accuracy", "val_accuracy", "chance"]


def test_figure_with_a_cut(tmp_path, monkeypatch):
    baselines = {"chance": 0.1, "pixels": 0.15}
    result = drawn(monkeypatch, tmp_path / "cut.png", CUT_ROWS, ["conv1"], baselines)
    accuracy, cosine, norm_ratio = result.axes
    assert labels(accuracy) == ["accuracy", "val_accuracy", "chance", "pixels"]
    assert labels(cosine) == ["cut1_cosine (conv1)"]
    assert labels(norm_ratio) == ["cut1_norm_ratio (conv1)"]
    assert cosine.get_ylim()[1] == 1
    assert norm_ratio.get_ylim()[1] > 1.5
    assert result.get_suptitle() == "A title"


def test_a_title_has_the_flags_that_were_typed():
    values = {"method": "sobolev", "steps": 20, "workdir": "x", "l2": 0.0, "augmentation": "flip"}
    values["seed"] = 3
    settings = Settings(values, frozenset(values) - {"augmentation", "seed"})
    assert report.flags_of_title(settings) == ["--l2=0.0", "--seed=3", "--steps=20"]
