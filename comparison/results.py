"""Results on disk: one JSON line per decoded file, a description, and a CSV file of all."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nsc.console import log
from nsc.errors import UserError
from utilities import atomic_write

FOLDER = "results"
LEFT_OUT = "left_out.json"
PESQ_PAIR = ("pesq_wb", "pesq_wb_padded")
PESQ_TOLERANCE = 0.3  # by which PESQ of one file may differ, plain and padded
MISALIGNED = f"whose PESQ differs by more than {PESQ_TOLERANCE} with silence around"


Record = TypeVar("Record", bound="Codec | Result")


class Recording(NamedTuple):
    """A file of test speech, who speaks in it, and what part of the corpus it belongs to, such as a language."""

    path: Path
    speaker: str
    sex: str = ""
    part: str = ""


@dataclass(frozen=True)
class Codec:
    """The codec of a results file.

    Attributes:
        name: of the peer, or the hash of the model.
        label: name for people.
        family: what a curve joins.
        kind: 'peer' or 'model'.
        high_pass: waveform measures cannot be compared, since low frequencies are removed on purpose.
        origin: run and stage of a model.
        commands: exact command lines of a peer.
        versions: of the programs that coded.
        waveform: the decoder follows the waveform, so that waveform measures mean something.
        band: that it codes, where its packets do not tell.
    """

    name: str
    label: str
    family: str
    kind: str
    high_pass: bool = False
    origin: str = ""
    commands: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    waveform: bool = True
    band: str = "wide"


@dataclass(frozen=True)
class Result:
    """One decoded file, or why there is none.

    Attributes:
        codec: name of the codec.
        layer: codecs of the cascade that were decoded, from 1; 0 for a peer.
        loss: share of groups that a Gilbert channel lost.
        corpus: folder of the test speech.
        file: path within it.
        speaker: who speaks.
        seconds: duration.
        bits: of our whole file, or of a peer's packets without container.
        delay: samples by which the codec was late, taken off.
        decoded: path of the decoded file.
        measures: value of each measure, nan where it failed.
        failures: why a measure has no value.
        error: why the file could not be coded at all.
        delay_ms: algorithmic delay in a conversation, 0 where it is not known.
        sex: of the speaker, F or M; empty where the corpus does not say.
        bands: share of packets in each band, where packets tell.
        commit: of the code that scored.
        part: of the corpus, such as a kind of sounds or a language; empty where its manifest has neither.
    """

    codec: str
    layer: int
    loss: float
    corpus: str
    file: str
    speaker: str
    seconds: float = 0.0
    bits: int = 0
    delay: int = 0
    decoded: str = ""
    measures: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    error: str = ""
    sex: str = ""
    delay_ms: float = 0.0
    bands: dict[str, float] = field(default_factory=dict)
    commit: str = ""
    part: str = ""

    @property
    def collection(self) -> str:
        """The part of the corpus that the file belongs to: its uppermost folder, or else the corpus itself."""
        parts = Path(self.file).parts
        return parts[0] if len(parts) > 2 else Path(self.corpus).name

    @property
    def kbps(self) -> float:
        """1000 bits per second."""
        return self.bits / self.seconds / 1000 if self.seconds else math.nan

    @property
    def misaligned(self) -> bool:
        """Whether PESQ changes with silence around this file: its alignment misfired."""
        plain, padded = (self.measures.get(name, math.nan) for name in PESQ_PAIR)
        return abs(plain - padded) > PESQ_TOLERANCE

    @property
    def place(self) -> tuple[str, int, float, str, str]:
        """What there is one result of."""
        return self.codec, self.layer, self.loss, self.corpus, self.file

    def line(self) -> str:
        """For a file of JSON lines."""
        values = asdict(self) | {"kbps": self.kbps}
        values["measures"] = {name: None if math.isnan(each) else each for name, each in self.measures.items()}
        return json.dumps(values | {"kbps": None if math.isnan(self.kbps) else self.kbps}) + "\n"


def _parsed(line: str) -> Result | None:
    """The result of a line; None for one that was torn by a crash or edited."""
    try:
        values = json.loads(line)
        values["measures"] = {name: math.nan if each is None else each for name, each in values["measures"].items()}
        return _of_right_types(Result, {each.name: values[each.name] for each in fields(Result) if each.name in values})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _of_right_types(kind: type[Record], values: dict[str, Any]) -> Record:
    """A record; raises TypeError where a value is not of the type that its field says."""
    types = {"str": str, "int": int, "bool": bool, "float": (int, float)}
    for each in fields(kind):
        given = str(each.type)
        if each.name in values and given in types and not isinstance(values[each.name], types[given]):  # type: ignore[arg-type]
            raise TypeError(f"{each.name} is no {given}")
        entries = values.get(each.name)
        if given.startswith("dict[str, "):
            inner = types[given.removeprefix("dict[str, ").removesuffix("]")]
            if not isinstance(entries, dict) or not all(isinstance(entry, inner) for entry in entries.values()):  # type: ignore[arg-type]
                raise TypeError(f"{each.name} is no table")
    return kind(**values)


class Store:
    """The results of all codecs in one folder; each codec has files of its own."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output / FOLDER

    def describe(self, codec: Codec) -> None:
        """Writes the codec's description."""
        atomic_write(self.folder / f"{codec.name}.json", json.dumps(asdict(codec), indent=2) + "\n")

    def append(self, results: Sequence[Result]) -> None:
        """Adds results of one codec, all in one write; a line torn by a crash remains a separate line."""
        path = self.folder / f"{results[0].codec}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(result.line() for result in results)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, ("\n" * torn + text).encode())
        finally:
            os.close(descriptor)

    def of_codec(self, name: str) -> list[Result]:
        """The newest result of every file and layer; of faults only those that persist."""
        path = self.folder / f"{name}.jsonl"
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        parsed = [_parsed(line) for line in lines]
        dropped = [number for number, result in enumerate(parsed, start=1) if result is None and lines[number - 1]]
        if dropped:
            log.info("dropped: damaged lines of %s (%s)", path, ", ".join(map(str, dropped)))
        found = list({result.place: result for result in parsed if result}.values())
        coded = {(result.corpus, result.file) for result in found if not result.error}
        return [result for result in found if not result.error or (result.corpus, result.file) not in coded]

    def codecs(self) -> list[Codec]:
        """Models first, then peers, by name."""
        found = [codec for codec in map(_codec, sorted(self.folder.glob("*.json"))) if codec]
        return sorted(found, key=lambda codec: (codec.kind, codec.family, codec.label))

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Records why codecs and judges could not be used, by name."""
        atomic_write(self.output / LEFT_OUT, json.dumps({**self._left_out(), **reasons}, indent=1) + "\n")

    def left_out(self) -> dict[str, str]:
        """Why codecs and judges could not be used, by name, for those that have no result since."""
        used = {name for codec in self.codecs() for name in (codec.name, *self._measured(codec.name))}
        return {name: reason for name, reason in self._left_out().items() if name not in used}

    def _left_out(self) -> dict[str, str]:
        path = self.output / LEFT_OUT
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def _measured(self, codec: str) -> set[str]:
        return {name for result in self.of_codec(codec) for name in result.measures}

    def all(self) -> list[Result]:
        """Every result, sorted.

        Raises:
            UserError: there is none.
        """
        found = sorted(
            (result for codec in self.codecs() for result in self.of_codec(codec.name)), key=lambda each: each.place
        )
        if not found:
            raise UserError(f"expected results in {self.folder}, found none; report.py measure makes them")
        return found

    def write_csv(self) -> Path:
        """All results in one table."""
        codecs = {codec.name: codec for codec in self.codecs()}
        rows = [_flat(result, codecs[result.codec]) for result in self.all()]
        names = list(dict.fromkeys(name for row in rows for name in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
        path = self.output / "results.csv"
        atomic_write(path, buffer.getvalue())
        return path


def _codec(path: Path) -> Codec | None:
    """What a description says; None, and a line, for a damaged one."""
    try:
        values = json.loads(path.read_text())
        made = {"versions": values.get("versions", {}), "commands": tuple(values.get("commands", ()))}
        return _of_right_types(Codec, values | made)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        log.info("dropped: %s, which describes no codec (%s)", path, error)
        return None


def _flat(result: Result, codec: Codec) -> dict[str, Any]:
    values = asdict(result)
    measures, failures, error = values.pop("measures"), values.pop("failures"), values.pop("error")
    known = {"label": codec.label, "family": codec.family, "origin": codec.origin}
    rate = {"kbps": result.kbps}
    return values | known | rate | measures | {"failures": "; ".join(failures.values()), "error": error}


def faults(results: Iterable[Result]) -> list[str]:
    """What went wrong, counted, with an example each: files without decoded speech, and measures without value."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.error:
            found.setdefault(f"not coded by {result.codec}", []).append(f"{result.file}: {result.error}")
        for name, reason in result.failures.items():
            found.setdefault(f"without {name}", []).append(f"{result.codec}, {result.file}: {reason}")
        if result.misaligned:
            plain, padded = (result.measures[name] for name in PESQ_PAIR)
            text = f"{result.codec}, {result.file}: {plain:.2f} plain, {padded:.2f} padded"
            found.setdefault(MISALIGNED, []).append(text)
    return [f"{len(lines)} files {what}, such as {lines[0]}" for what, lines in sorted(found.items())]
