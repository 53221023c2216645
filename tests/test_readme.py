"""Every Python example of the README runs as it stands; every command has flags that exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
LONG = "ResNet50"
ROOT = README.parent
COMMAND = re.compile(r"python -m train\.(\w+)([^`#\n]*)")
SCRIPTS = {
    **{path.stem: f"train.{path.stem}" for path in ROOT.glob("train/[a-z]*.py")},
    **{
        path.parent.name: f"train.{path.parent.name}.__main__"
        for path in ROOT.glob("train/*/__main__.py")
    },
}
MARKDOWN = [README, ROOT / "BUILD_NOTES.md"] + sorted(
    page for folder in ("sobolev_tf", "train") for page in (ROOT / folder).rglob("*.md")
)
PAGES = MARKDOWN + [ROOT / f"{module.replace('.', '/')}.py" for module in SCRIPTS.values()]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


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


def test_the_errors_page_runs(capsys):
    page = ROOT / "sobolev_tf" / "README.md"
    [block] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    exec(compile(block, str(page), "exec"), {})
    assert "label d1 has NaN, first in row 3" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_flags_that_exist(page):
    text = page.read_text()
    if page.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    for script, arguments in COMMAND.findall(text):
        if script == "cluster":  # its flags are those of the script that it starts
            continue
        flags = importlib.import_module(SCRIPTS[script]).FLAGS
        for name in re.findall(r"(?<=\s)--(\w+)", arguments):
            assert name in flags or name.removeprefix("no") in flags, f"train.{script} --{name}"


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link for link in LINK.findall(text) if "://" not in link]
    broken = [link for link in links if not (page.parent / link).exists()]
    assert broken == []


def test_every_folder_of_results_is_in_the_index():
    index = (ROOT / "train" / "results" / "README.md").read_text()
    folders = [path.name for path in (ROOT / "train" / "results").iterdir() if path.is_dir()]
    families = re.findall(r"`(\w+)_\*`", index)
    missing = [
        name
        for name in folders
        if name not in index and not any(name.startswith(family) for family in families)
    ]
    assert missing == []


@pytest.mark.slow
def test_the_long_example_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in BLOCKS if LONG in block]
    exec(compile(block, str(README), "exec"), {})
    assert (tmp_path / "plain" / "saved_model.pb").exists()
