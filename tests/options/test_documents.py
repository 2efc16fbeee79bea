import re
import shlex
from pathlib import Path

import pytest

from options.config import parse_flags
from scripts import draw_architecture
from scripts.flag_table import DOCUMENT, with_table
from tests.helpers.places import ROOT
from tests.helpers.readme import README_COMMAND

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def commands(document: Path) -> list[list[str]]:
    """The arguments of every `python main.py` in a document's code blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[2:] for line in lines if line.startswith("python main.py")]


def test_the_flag_table_is_that_of_the_code() -> None:
    document = DOCUMENT.read_text()
    assert "| `--training_mode` |" in document
    assert with_table(document) == document, "run python -m scripts.flag_table --write"


def test_the_readme_has_the_command_of_the_first_readme() -> None:
    assert shlex.split(README_COMMAND) in commands(ROOT / "README.md")


def test_the_readme_stays_a_front_door() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) < 250, "move details to docs/"
    linked = set(re.findall(r"\]\(docs/(\w+\.md)\)", readme))
    assert {path.name for path in ROOT.glob("docs/*.md")} - linked == set(), "README.md links every document"


def test_every_test_that_the_ledger_names_exists() -> None:
    known = {
        name for path in ROOT.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "FIDELITY.md").read_text()))
    assert len(named) > 40
    assert named - known == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_a_document_parses(document: Path) -> None:
    for arguments in commands(document):
        parse_flags(arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_prose_is_at_most_120_columns_wide(document: Path) -> None:
    if document.name == "results.md":  # written by `report.py tables`
        return
    prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 120 and not line.startswith(("|", "    "))] == []


def test_every_test_file_that_a_document_names_exists() -> None:
    named = [(text.name, each) for text in DOCUMENTS for each in re.findall(r"tests/[\w/]+\.py", text.read_text())]
    assert len(named) > 40
    assert [pair for pair in named if not (ROOT / pair[1]).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_exists(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_figure_of_the_architecture_is_the_one_that_the_script_draws() -> None:
    assert draw_architecture.PATH.read_text() == draw_architecture.drawing(), "run python -m scripts.draw_architecture"


@pytest.mark.parametrize("document", sorted(set(DOCUMENTS) - {ROOT / "CHANGELOG.md"}), ids=lambda path: path.name)
def test_every_file_of_the_code_that_a_document_names_exists(document: Path) -> None:
    named = set(re.findall(r"(?<![\w/.])((?:[a-z_0-9*]+/)+[a-z_0-9*]+\.(?:py|sh))\b", document.read_text()))
    assert [path for path in sorted(named) if not list(ROOT.glob(path))] == []
