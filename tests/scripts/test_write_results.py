"""Documents from the numbers of a comparison: the same in README, docs and figure."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from comparison.numbers.summary import Summary
from comparison.results import Codec, Result, Store
from scripts import write_results


@pytest.fixture
def numbers() -> Summary:
    if not write_results.NUMBERS.is_file():
        pytest.skip("no numbers are kept yet: python -m scripts.write_results --output FOLDER")
    return Summary.read(write_results.NUMBERS)


def test_readme_and_document_are_those_of_the_numbers(numbers: Summary) -> None:
    kept = {
        write_results.DOCUMENT: write_results.document(numbers),
        write_results.README: write_results.short_document(numbers),
    }
    for path, content in kept.items():
        assert write_results.with_content(path, content) == path.read_text(), "run python -m scripts.write_results"


def test_the_figure_is_that_of_the_numbers(numbers: Summary) -> None:
    with Image.open(write_results.FIGURE) as picture:
        assert picture.info[write_results.FIGURE_KEY] == write_results.digest(), (
            "run python -m scripts.write_results --output"
        )


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Documents of their own, the README with marks."""
    places = {"NUMBERS": "results.json", "DOCUMENT": "results.md", "FIGURE": "rate_pesq_wb.png", "README": "README.md"}
    for constant, name in places.items():
        monkeypatch.setattr(write_results, constant, tmp_path / name)
    for path in (write_results.README, write_results.DOCUMENT):
        path.write_text(f"before\n{write_results.START}old\n{write_results.END}\nafter\n")
    return tmp_path


def test_a_folder_of_results_becomes_numbers_table_and_figure(documents: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    store = Store(tmp_path / "report")
    for name, kind, value in (("m", "model", 3.5), ("amr-wb-8.85", "peer", 3.2), ("other", "peer", 3.0)):
        store.describe(Codec(name, name, name, kind, commands=("ffmpeg",) * (kind == "peer")))
        store.append([Result(name, 0, 0.0, "c", "a.wav", "s", 1.0, 9000, measures={"pesq_wb": value})])
    assert write_results.main(["--output", str(store.output)]) == 0
    readme = (documents / "README.md").read_text()
    assert readme.startswith("before\n") and readme.endswith("\nafter\n")
    assert "| **m**" in readme and "3.20" in readme and "other" not in readme
    assert "other" in (documents / "results.md").read_text()
    with Image.open(documents / "rate_pesq_wb.png") as picture:
        assert picture.info[write_results.FIGURE_KEY] == write_results.digest()


def test_a_readme_without_marks_is_refused_in_one_line(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results.NUMBERS.write_text(Summary(0, 0, [], [], [], {}, {}).text())
    write_results.README.write_text("no marks")
    assert write_results.main([]) == write_results.USER_ERROR
    assert "expected the marks" in capsys.readouterr().err
