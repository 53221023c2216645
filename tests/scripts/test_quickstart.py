"""train.quickstart: three fits, their errors, and README's picture."""

import re

import numpy as np
import pytest

from train import quickstart
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


@pytest.mark.slow  # a hundred steps of three nets, ten seconds
def test_slopes_lower_the_error_and_the_picture_is_drawn(tmp_path, capsys):
    quickstart.main(Settings({"workdir": str(tmp_path / "q"), "seed": 0, "num_workers": 0}))
    few, many, slopes = map(float, re.findall(r"([\d.]+) %", capsys.readouterr().out))
    assert max(many, slopes) < few / 4
    assert (tmp_path / "q" / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_a_tiny_run_ends_with_a_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(quickstart, "ITERATIONS", 1)
    quickstart.main(Settings({"workdir": str(tmp_path / "q"), "seed": 0, "num_workers": 0}))
    out = capsys.readouterr().out
    assert "7 values and 7 slopes" in out
    assert out.endswith(" -m train.regression\n")
    assert (tmp_path / "q" / "picture.png").exists()


def test_a_folder_in_the_picture_s_place_is_noticed_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "picture.png").mkdir()
    monkeypatch.setattr(quickstart, "fit", pytest.fail)
    with pytest.raises(UsageError, match=r"picture.png is a folder, where a file is to be written"):
        quickstart.main(Settings({"workdir": str(tmp_path), "seed": 0, "num_workers": 0}))


def test_the_error_is_a_share_of_the_deviation(monkeypatch):
    monkeypatch.setattr(quickstart, "ITERATIONS", 1)
    fitted = quickstart.fit(quickstart.Labels("", num_points=3, with_slopes=False, seed=0))
    x = np.linspace(-2.5, 2.5, 501)
    true = np.sin(3 * x) + x / 2
    rms = np.sqrt(np.mean((fitted.curve - true) ** 2))
    assert fitted.error == pytest.approx(rms / np.std(true))
