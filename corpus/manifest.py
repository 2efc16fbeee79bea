"""Tables of speech: manifests as people write them, UTF-8 with or without a BOM, UTF-16 or latin-1; Common Voice's."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from corpus.speech_file import SPLITS, SpeechFile
from nsc.console import log
from nsc.errors import UserError
from utilities import atomic_write

MANIFEST = "manifest.csv"
MANIFEST_COLUMNS = ("path", "speaker", "split")
COMMON_VOICE_CLIPS = "clips"  # folder of recordings beside the tables
COMMON_VOICE_TABLES = {"train.tsv": "train", "dev.tsv": "val", "test.tsv": "test"}
COMMON_VOICE_COLUMNS = ("path", "client_id")
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class TabSeparated(csv.excel_tab):
    """Columns apart by tabs, in which quotation marks mean nothing: sentences begin with them."""

    quoting = csv.QUOTE_NONE


def speech_of_manifest(manifest: Path) -> list[SpeechFile]:
    """The recordings that a manifest lists.

    Raises:
        UserError: a line has a fault, a file does not exist, or there is none.
    """
    files = [_manifest_file(manifest, line, row) for line, row in read_rows(manifest, MANIFEST_COLUMNS)]
    if not files:
        raise UserError(f"{manifest}: expected one line per recording, found none; list the recordings")
    absent = [file.path for file in files if not file.path.is_file()]
    if absent:
        raise UserError(
            f"{manifest}: {len(absent)} of {len(files)} files do not exist, first {absent[0]}; fix the paths"
        )
    return files


def write_manifest(files: Sequence[SpeechFile], folder: Path) -> Path:
    """Writes the manifest of recordings, wherever they lie, into a folder; returns its path."""
    buffer = io.StringIO()
    rows = ((file.path.resolve(), file.speaker, file.split) for file in files)
    csv.writer(buffer).writerows([MANIFEST_COLUMNS, *rows])
    atomic_write(folder / MANIFEST, buffer.getvalue())
    return folder / MANIFEST


def _manifest_file(manifest: Path, line: int, row: dict[str, str]) -> SpeechFile:
    path, speaker, split = (row[column] for column in MANIFEST_COLUMNS)
    if not path or not speaker:
        raise UserError(f"{manifest}, line {line}: expected a path and a speaker, found an empty field; fill it in")
    if split not in SPLITS:
        raise UserError(f"{manifest}, line {line}: expected split train, val or test, found '{split}'; change it")
    return SpeechFile(manifest.parent / path, speaker, split)


def common_voice_files(paths: Sequence[Path]) -> list[SpeechFile]:
    """The recordings that Common Voice's tables of splits list, by client; none where no clips have such tables.

    Raises:
        UserError: a table has faults.
    """
    folders = {path.parent for path in paths if path.parent.name == COMMON_VOICE_CLIPS}
    there = set(paths)
    return [
        SpeechFile(folder / row["path"], row["client_id"], split)
        for folder in sorted(folders)
        for name, split in COMMON_VOICE_TABLES.items()
        if (folder.parent / name).is_file()
        for _, row in read_rows(folder.parent / name, COMMON_VOICE_COLUMNS, TabSeparated)
        if folder / row["path"] in there
    ]


def read_rows(
    path: Path, columns: tuple[str, ...], dialect: type[csv.Dialect] = csv.excel
) -> list[tuple[int, dict[str, str]]]:
    """The lines of a CSV file with their numbers, by column, stripped of blanks.

    Raises:
        UserError: a column is missing, or the file is no table.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), dialect=dialect)
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
