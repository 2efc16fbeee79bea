"""Writes the comparison's numbers, table and figure into the documents, so that these cannot differ from each other.

python -m scripts.write_results --output report   # docs/results.json from a folder of results, then all that follows
python -m scripts.write_results                   # docs/results.md and README.md from docs/results.json
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from comparison.numbers import tables
from comparison.numbers.rows import Row
from comparison.numbers.summary import Summary, summary_of
from comparison.results import Store
from nsc.errors import UserError
from utilities import atomic_write

ROOT = Path(__file__).resolve().parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
NUMBERS, DOCUMENT, FIGURE = DOCS / "results.json", DOCS / "results.md", DOCS / "rate_pesq_wb.png"
START, END = "<!-- results: written by scripts/write_results.py -->\n", "<!-- end of results -->"
FIGURE_KEY = "results"  # of the figure's metadata, the hash of the numbers that it shows
SHOWN = (
    "lyra-9.2",
    *(f"amr-wb-{kbps}" for kbps in ("8.85", "15.85", "23.85")),
    *(f"opus-audio-vbr-{kbps}" for kbps in (9, 16, 24)),
    "lc3-24",
)
OTHERS = ("AMR-WB", "Opus audio VBR", "LC3", "Lyra V2")
MEASURES = ("pesq_wb", "visqol", "stoi", "si_sdr")
USER_ERROR = 2


def document(summary: Summary) -> str:
    """All tables, the figure, and how the others were run."""
    figure = f"![PESQ-WB over measured kbps]({FIGURE.name})\n\n"
    return tables.document(summary) + "\n" + figure + "## How the others were run\n\n" + tables.record(summary) + "\n"


def short_table(summary: Summary) -> str:
    """The README's rows: our models, and a choice of the others near their rates, by rate."""
    rows = [row for row in summary.rows if row.kind == "model" or any(fnmatch(row.name, each) for each in SHOWN)]
    names = [name for name in MEASURES if name in tables.measures_of(rows)]
    lines = [_line(row, names) for row in sorted(rows, key=lambda row: row.kbps)]
    headings = ["codec", "kbps", "delay ms", *(tables.MEASURES[name].title for name in names)]
    return tables.markdown(headings, lines) + "\n"


def _line(row: Row, names: Sequence[str]) -> list[str]:
    label = f"**{row.label}**" if row.kind == "model" else row.label
    return [label, f"{row.kbps:.2f}", tables.delay_text(row), *(tables.value_text(row, name) for name in names)]


def equal_rate(summary: Summary) -> str:
    """The README's lines on PESQ at equal rate, one for each of our models."""
    lines = []
    for label in dict.fromkeys(each.ours for each in summary.differences):
        found = [each for each in summary.differences if each.ours == label and each.other in OTHERS]
        texts = [
            f"{each.other} {tables.interval_text(each.difference.everybody, 2, signed=True)}"
            for each in found
            if each.measure == "pesq_wb"
        ]
        if texts:
            lines.append(f"- {label}: {', '.join(texts)}")
    return "\nPESQ-WB at equal rate, ours minus theirs:\n\n" + "\n".join(lines) + "\n\n" if lines else ""


def short_document(summary: Summary) -> str:
    """The README's table, and the differences at equal rate."""
    return short_table(summary) + equal_rate(summary)


def with_content(path: Path, content: str) -> str:
    """The text of a document with other content between its two marks.

    Raises:
        UserError: it has no marks.
    """
    before, start, rest = path.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise UserError(f"expected the marks {START.strip()} and {END} in {path.name}, found none; put them there")
    return before + START + content + END + after


def digest() -> str:
    """Of the numbers."""
    return hashlib.sha256(NUMBERS.read_bytes()).hexdigest()


def _write_figure(drawn: Path) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    known, buffer = PngInfo(), io.BytesIO()
    known.add_text(FIGURE_KEY, digest())
    with Image.open(drawn) as picture:
        picture.save(buffer, "PNG", pnginfo=known, optimize=True)
    atomic_write(FIGURE, buffer.getvalue())


def _write_numbers(store: Store) -> None:
    from comparison.figures.drawing import PLOTS, draw_all

    atomic_write(NUMBERS, summary_of(store).text())
    draw_all(store)
    _write_figure(store.output / PLOTS / FIGURE.name)


def main(arguments: Sequence[str]) -> int:
    """Writes what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, help="folder of results of report.py (default: docs/results.json as it is)"
    )
    options = parser.parse_args(list(arguments))
    try:
        if options.output:
            _write_numbers(Store(options.output))
        summary = Summary.read(NUMBERS)
        for path, content in ((DOCUMENT, document(summary)), (README, short_document(summary))):
            atomic_write(path, with_content(path, content))
    except UserError as error:
        print(f"write_results.py: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
