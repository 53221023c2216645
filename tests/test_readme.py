"""Every Python example of the README runs as it stands, in the order of the page."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
LONG = "ResNet50"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_examples_run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    short = [block for block in BLOCKS if LONG not in block]
    assert len(short) == len(BLOCKS) - 1 >= 4
    for block in short:
        exec(compile(block, str(README), "exec"), names)  # our own page, as a reader runs it
    out = capsys.readouterr().out
    first, fine = map(float, re.findall(r"test RMSE ([\d.]+)", out))
    assert fine < first / 2 < 3.9 * 0.7 / 2
    assert "sign" in out


@pytest.mark.slow
def test_the_long_example_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in BLOCKS if LONG in block]
    exec(compile(block, str(README), "exec"), {})
    assert (tmp_path / "plain" / "saved_model.pb").exists()
