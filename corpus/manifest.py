"""CSV tables as spreadsheets and people write them: UTF-8 with or without a BOM, UTF-16, latin-1."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

from nsc.console import log
from nsc.errors import UserError

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The lines of a CSV file with their numbers, by column, stripped of blanks.

    Raises:
        UserError: a column is missing, or the file is no table.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        names = reader.fieldnames or ()
        missing = [column for column in columns if column not in names]
        if missing:
            raise UserError(f"{path}: expected columns {','.join(columns)}, found no {missing[0]}; add it")
        return [(reader.line_num, {name: (row[name] or "").strip() for name in columns}) for row in reader]
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: expected {','.join(columns)}, found no table ({error}); look for an odd"
            " quotation mark"
        ) from None


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: expected a table, found what cannot be read ({error.strerror}); check it") from None
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "")
    if not encoding:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be" if data[:1] == b"\0" else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        log.info("%s is not UTF-8: read as latin-1", path)
        return data.decode("latin-1")
