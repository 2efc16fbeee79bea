"""The results that are kept with the code: a compressed table with a row per decoded file, and what made them.

Tables and figures of the documents are made of it, and intervals can be checked by it, without coding anything again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import lzma
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from comparison.results import Codec, Result, Store
from nsc.errors import UserError
from runs.runs import version_of
from utilities import atomic_write

ROOT: Final = Path(__file__).resolve().parent.parent
TABLE, DESCRIPTION = "files.csv.xz", "codecs.json"
NUMBERS: Final = ("layer", "loss", "seconds", "bits", "delay_ms")  # columns of a result, beside those of text
WHOLE: Final = ("layer", "bits")
TEXTS: Final = ("codec", "file", "part", "speaker", "sex", "commit", "error")
SHOWN: Final = ("label", "family", "kind", "band", "kbps")  # of the codec or computed: for who reads the table alone
NOTES: Final = ("bands", "failures")  # as JSON
DIGITS: Final = 6  # of measured values, after the point
PACKAGES: Final = (
    *("numpy", "scipy", "pesq", "pystoi", "visqol-python", "distillmos", "torch", "warpq", "librosa"),
    *("speechmos", "onnxruntime"),
)  # that measure


@dataclass(frozen=True)
class Kept:
    """Results with what made them.

    Attributes:
        corpus: name of the test speech.
        codecs: descriptions of all codecs.
        judges: releases of what measured.
        results: one a decoded file.
        left_out: why codecs and files are missing, by name.
    """

    corpus: str
    codecs: Sequence[Codec]
    judges: Mapping[str, str]
    results: Sequence[Result]
    left_out: Mapping[str, str] = field(default_factory=dict)


def kept_of(store: Store, corpus: str = "") -> Kept:
    """The results of a folder.

    Args:
        store: the folder.
        corpus: name of the test speech; empty for that of its folder.

    Raises:
        UserError: there are no results.
    """
    results = store.all()
    return Kept(corpus or Path(results[0].corpus).name, store.codecs(), _judges(), results, store.left_out())


def complete(kept: Kept) -> Kept:
    """The same with those files only that every codec was tried on: a mean over fewer files is another mean.

    Raises:
        UserError: there is no such file.
    """
    tried = [{each.file for each in kept.results if each.codec == codec.name} for codec in kept.codecs]
    files, common = set.union(*tried), set.intersection(*tried)
    if not common:
        few = min(zip(map(len, tried), kept.codecs, strict=True), key=lambda pair: pair[0])[1]
        raise UserError(f"expected files that all codecs coded, found none (of {few.label} fewest); measure again")
    if files == common:
        return kept
    some = [codec.label for codec, own in zip(kept.codecs, tried, strict=True) if own != files]
    note = {f"{len(files - common)} of {len(files)} files": f"not reached by {', '.join(some)}"}
    results = [result for result in kept.results if result.file in common]
    return replace(kept, results=results, left_out={**kept.left_out, **note})


def write_kept(kept: Kept, folder: Path) -> None:
    """Writes the table and the description beside it."""
    about = {"corpus": kept.corpus, "judges": dict(kept.judges), "left_out": dict(kept.left_out)}
    description = about | {"codecs": [asdict(each) for each in kept.codecs]}
    atomic_write(folder / TABLE, lzma.compress(_csv(kept).encode(), preset=9))
    atomic_write(folder / DESCRIPTION, json.dumps(description, indent=1, ensure_ascii=False) + "\n")


def read_kept(folder: Path) -> Kept:
    """What `write_kept` wrote.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        text = lzma.decompress((folder / TABLE).read_bytes()).decode()
        codecs = [Codec(**{**each, "commands": tuple(each["commands"])}) for each in description["codecs"]]
        corpus = str(description["corpus"])
        results = [_result(row, corpus) for row in csv.DictReader(io.StringIO(text))]
        return Kept(corpus, codecs, description["judges"], results, description["left_out"])
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"expected results in {folder}, found none that can be read ({error}); restore them") from None


def digest(folder: Path) -> str:
    """Hash of what is kept."""
    return hashlib.sha256((folder / TABLE).read_bytes() + (folder / DESCRIPTION).read_bytes()).hexdigest()


def _csv(kept: Kept) -> str:
    codecs = {codec.name: codec for codec in kept.codecs}
    measures = list(dict.fromkeys(name for result in kept.results for name in result.measures))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*TEXTS, *SHOWN, *NUMBERS, *measures, *NOTES], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(result, codecs[result.codec]) for result in kept.results)
    return buffer.getvalue()


def _row(result: Result, codec: Codec) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(result, name) for name in (*TEXTS, *NUMBERS)}
    row |= {"label": codec.label, "family": codec.family, "kind": codec.kind, "kbps": _text(result.kbps)}
    row["band"] = max(result.bands, key=lambda name: result.bands[name], default=codec.band)
    row |= {name: _text(value) for name, value in result.measures.items()}
    return row | {name: json.dumps(each) if (each := getattr(result, name)) else "" for name in NOTES}


def _text(value: float) -> str:
    """A number for the table: empty where there is none."""
    return "" if math.isnan(value) else f"{round(value, DIGITS):g}" if math.isinf(value) else repr(round(value, DIGITS))


def _result(row: Mapping[str, str], corpus: str) -> Result:
    known = {*TEXTS, *SHOWN, *NUMBERS, *NOTES}
    notes: dict[str, Any] = {name: json.loads(row[name]) if row[name] else {} for name in NOTES}
    # a measure that failed has a reason, one that was not asked for has none
    values = {name: float(text) for name, text in row.items() if name not in known and text}
    values |= dict.fromkeys(notes["failures"], math.nan)
    texts: dict[str, Any] = {name: row[name] for name in TEXTS}
    numbers: dict[str, Any] = {name: int(row[name]) if name in WHOLE else float(row[name]) for name in NUMBERS}
    return Result(corpus=corpus, measures=values, **texts, **numbers, **notes)


def _judges() -> dict[str, str]:
    return {name: version for name in PACKAGES if (version := version_of(name))}
