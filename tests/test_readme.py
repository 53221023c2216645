"""Examples of README and guide run as they stand; commands have flags that exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
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
    page for folder in ("sobolev_tf", "train", "tests") for page in (ROOT / folder).rglob("*.md")
)
PAGES = MARKDOWN + [ROOT / f"{module.replace('.', '/')}.py" for module in SCRIPTS.values()]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*?)$", re.MULTILINE)
PATH = re.compile(r"`([\w{},/.]+/[\w{},.]+\.py)`")


GUIDE = ROOT / "sobolev_tf" / "README.md"
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
SECTIONS = {
    title: PYTHON.findall(text)
    for title, text in re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", GUIDE.read_text(), re.M | re.S)
}
OPTIONAL = {"OpenMDAO": "openmdao"}  # packages that no extra has
LONG = "Train a network in stages"  # ResNet50 takes a minute
COMPARED = ("Time series", "A Transformer on embeddings")  # print Sobolev's error, then values'
SLOW = (LONG, "Pricing: payoffs with pathwise slopes", *COMPARED)  # six to twelve seconds


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_examples_run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in PYTHON.findall(README.read_text()):
        exec(compile(block, str(README), "exec"), names)  # our own page, as a reader runs it
    values, sobolev = map(float, re.findall(r"test error ([\d.]+) %", capsys.readouterr().out))
    assert sobolev < values / 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    "title",
    [
        pytest.param(title, marks=pytest.mark.slow if title in SLOW else ())
        for title, blocks in SECTIONS.items()
        if blocks
    ],
)
def test_a_section_of_the_guide_runs_on_its_own(title, monkeypatch, tmp_path, capsys):
    if title in OPTIONAL:
        pytest.importorskip(OPTIONAL[title])
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in SECTIONS[title]:
        exec(compile(block, f"{GUIDE}: {title}", "exec"), names)
    shows = {
        "Errors and warnings": "label d1 has NaN, first in row 3",
        "Where derivatives come from": "wrong sign",
        "Which fit": "test error 0.",
        "Energies and forces": "force RMSE 0.0",
    }
    printed = capsys.readouterr().out
    assert shows.get(title, "") in printed
    if title in COMPARED:
        sobolev, values = map(float, re.findall(r": ([\d.]+)$", printed, re.M))
        assert sobolev < values
    assert (tmp_path / "plain" / "saved_model.pb").exists() == (title == LONG)


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


def prose(page):
    """A page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def anchors(page):
    """The sections of a page as links call them."""
    titles = (re.sub(r"\]\([^)]*\)", "", title) for title in HEADING.findall(prose(page)))
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def expanded(path):
    """The paths of a/{b,c}.py."""
    if not (braces := re.search(r"\{([^}]*)\}", path)):
        return [path]
    before, after = path[: braces.start()], path[braces.end() :]
    return [p for name in braces[1].split(",") for p in expanded(f"{before}{name}{after}")]


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_their_sections(page):
    links = [link for link in LINK.findall(prose(page)) if "://" not in link[0]]
    files = [((page.parent / name) if name else page, section) for name, section in links]
    assert [file for file, _ in files if not file.exists()] == []
    assert [link for link in files if link[1] and link[1] not in anchors(link[0])] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_exist(page):
    paths = [p for path in PATH.findall(prose(page)) for p in expanded(path)]
    roots = (ROOT, ROOT / "sobolev_tf", ROOT / "train", page.parent)
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []


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
