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


def test_a_run_whose_metrics_are_damaged_is_named(tmp_path, capsys):
    runs = write_runs(tmp_path)
    (tmp_path / "noprop" / "metrics.csv").write_text("garbage\n")
    plot.main(runs)
    assert "noprop/metrics.csv" in capsys.readouterr().err
    assert (tmp_path / "table1.md").exists()
    assert not (tmp_path / "curves.png").exists()
