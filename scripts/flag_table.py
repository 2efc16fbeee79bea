"""Prints the table of flags, or writes it into docs/flags.md.

python -m scripts.flag_table --write
"""

import argparse
import dataclasses
from pathlib import Path

from options.config import IGNORED, Config
from options.option import flag_of, shown
from utilities import atomic_write

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "flags.md"
START, END = "<!-- flags: written by scripts/flag_table.py -->\n", "<!-- end of flags -->"


def table() -> str:
    """All options under their headings, as Markdown."""
    lines = ["| flag | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(Config):
        if field.metadata["heading"]:
            lines.append(f"| **{field.metadata['heading']}** | | |")
        of_words = isinstance(field.default, str | tuple) and field.metadata["choices"]
        words = field.metadata["choices"] if of_words else ()
        meaning = field.metadata["help"] + (f" ({', '.join(words)})" if words else "")
        lines.append(f"| `--{flag_of(field)}` | `{shown(field.default)}` | {meaning} |")
    lines.append("| **Without effect** | | |")
    lines += [f"| `--{flag}` | | {meaning} |" for flag, meaning in IGNORED.items()]
    return "\n".join(lines) + "\n"


def with_table(document: str) -> str:
    """A document with the current table between its two markers."""
    before, _, rest = document.partition(START)
    _, _, after = rest.partition(END)
    return before + START + table() + END + after


def main() -> None:
    """Prints or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write it into docs/flags.md instead of printing it")
    if parser.parse_args().write:
        atomic_write(DOCUMENT, with_table(DOCUMENT.read_text()))
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
