"""What the soak calls flat, by hand, and a run of some seconds."""

import pytest

from train.bench import soak
from train.bench.soak import Sample


def grown(megabytes, threads):
    """Samples every ten minutes."""
    return [
        Sample(600 * k, k, m, t, 9, 2)
        for k, (m, t) in enumerate(zip(megabytes, threads, strict=True))
    ]


def test_growth_is_that_of_the_second_half():
    samples = grown([100, 300, 500, 700, 700, 702, 704, 706], [1, 9, 4, 4, 3, 4, 5, 6])
    assert soak.megabytes_an_hour(samples) == pytest.approx(12)  # 2 every ten minutes
    assert soak.more(samples, "threads") == 2
    assert soak.more(samples, "files") == 0


@pytest.mark.slow
def test_a_short_soak(tmp_path):
    rows = dict(soak.rows(minutes=0.01, workdir=str(tmp_path)))
    assert len(rows) == 6 * len(soak.LOADS)
    assert all(rows[f"{load}: steps"] > 0 for load in soak.LOADS)
    assert (tmp_path / "soak.png").stat().st_size > 1000
    samples = soak.read(tmp_path / "soak.csv")
    assert {s.files for s in samples["arrays, saved by Keras"]} == {1}
