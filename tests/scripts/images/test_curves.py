"""Learning curves of several runs, from folders that are written here by hand."""

from tests.support.image_runs import write
from train import plot

COSINES = "epoch,step,accuracy,cut1_cosine,cut2_cosine,cut3_cosine,val_accuracy\n"


def write_runs(folder):
    """Two seeds of sobolev with cosines, and one run of noprop without."""
    for seed, last in enumerate([0.6, 0.7]):
        run = folder / f"sobolev-{seed}"
        write(run, seed=seed)
        rows = f"1,10,0.3,0.1,0.2,0.3,0.4\n2,20,0.5,0.2,0.3,0.4,{last}\n"
        (run / "metrics.csv").write_text(COSINES + rows)
    write(folder / "noprop", method="noprop")
    (folder / "noprop" / "metrics.csv").write_text(
        "epoch,step,accuracy,val_accuracy\n1,20,0.1,0.2\n"
    )
    return [str(path) for path in sorted(folder.iterdir())]


def test_each_run_is_a_line_and_labels_are_at_the_means(tmp_path, saved_figures):
    plot.main(write_runs(tmp_path))
    assert (tmp_path / "curves.png").stat().st_size > 5000
    accuracy, *cosines = saved_figures[-1].axes
    lines = [list(line.get_ydata()) for line in accuracy.lines]
    assert sorted(lines) == [[20.0], [40.0, 60.0], [40.0, 70.0]]
    assert {text.get_text() for text in accuracy.texts} == {"Sobolev", "Noprop"}
    assert [
        len([line for line in axis.lines if len(line.get_ydata()) == 2]) for axis in cosines
    ] == [3, 3, 3]


def test_each_number_of_cuts_has_a_row_of_panels(tmp_path, saved_figures):
    write_runs(tmp_path)
    write(tmp_path / "sobolev-1-cut", splits=1)
    (tmp_path / "sobolev-1-cut" / "metrics.csv").write_text(
        "epoch,step,accuracy,cut1_cosine,val_accuracy\n1,10,0.3,0.6,0.7\n"
    )
    write(tmp_path / "backprop", splits=0)
    (tmp_path / "backprop" / "metrics.csv").write_text(
        "epoch,step,accuracy,val_accuracy\n1,10,0.1,0.9\n"
    )
    plot.main([str(path) for path in sorted(tmp_path.iterdir())])
    panels = [axis for axis in saved_figures[-1].axes if axis.get_visible()]
    assert [axis.get_title() for axis in panels] == [
        "held-out accuracy, %, 1 cut",
        "cosine of synthetic and true gradient, cut 1",
        "held-out accuracy, %, 3 cuts",
        "cosine of synthetic and true gradient, cut 1 (lowest)",
        "cosine of synthetic and true gradient, cut 2",
        "cosine of synthetic and true gradient, cut 3 (top)",
    ]
    one_cut, _, three_cuts, *_ = panels
    assert sorted(line.get_ydata()[-1] for line in one_cut.lines) == [70.0, 90.0]
    assert len(three_cuts.lines) == 4  # two seeds, noprop, and backprop again


def test_a_run_whose_metrics_are_damaged_is_named(tmp_path, capsys):
    runs = write_runs(tmp_path)
    (tmp_path / "noprop" / "metrics.csv").write_text("garbage\n")
    plot.main(runs)
    assert "noprop/metrics.csv" in capsys.readouterr().err
    assert (tmp_path / "table1.md").exists()
    assert not (tmp_path / "curves.png").exists()
