"""The codecs and files that are listened to."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import NamedTuple

from comparison.numbers.points import TALK_MS, Point
from corpus.speech_file import spread
from nsc.errors import UserError

MOST_COLUMNS = 12  # unless the user names more
DEFAULT_COLUMNS = (
    *(f"opus-av-audio-vbr-{kbps}" for kbps in (6, 9, 16, 24)),
    *("amr-wb-12.65", "amr-wb-23.85", "lc3-24", "lyra-6"),
)


class Column(NamedTuple):
    """One column of the page: the reference, or a codec at a layer."""

    label: str
    kind: str
    point: Point | None


def choose_columns(points: Sequence[Point], patterns: Sequence[str]) -> list[Column]:
    """The reference, then the codecs that match; without patterns ours for talking, and others at rates near ours.

    Raises:
        UserError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(_matches(point, [pattern]) for point in points):
            labels = ", ".join(point.label for point in points)
            raise UserError(f"expected a measured codec, found '{pattern}'; there are {labels}")
    models = [point for point in points if point.codec.kind == "model"]
    ours = [point for point in models if point.delay_ms <= TALK_MS] or models
    peers = [point for point in points if point.codec.kind == "peer"]
    wanted = [point for point in points if _matches(point, patterns)]
    chosen = wanted or (ours + [point for point in peers if point.codec.name in DEFAULT_COLUMNS])[:MOST_COLUMNS]
    columns = [Column(point.label, point.codec.kind, point) for point in chosen]
    return [Column("reference", "reference", None), *columns]


def _matches(point: Point, patterns: Sequence[str]) -> bool:
    return any(fnmatch(text, pattern) for pattern in patterns for text in (point.label, point.codec.name))


def choose_files(columns: Sequence[Column], count: int) -> list[str]:
    """Names of files that every column has, one per speaker as long as there are speakers.

    Raises:
        UserError: no file was coded by all.
    """
    coded = [{result.file: result for result in column.point.results} for column in columns if column.point]
    common = sorted(set.intersection(*(set(each) for each in coded))) if coded else []
    if not common:
        raise UserError("expected a file that all codecs of the page have coded, found none; measure them on the same")
    turns: dict[str, int] = {}
    order = []
    for name in common:
        speaker = coded[0][name].speaker
        turns[speaker] = turns.get(speaker, -1) + 1
        order.append((turns[speaker], name))
    firsts = [name for turn, name in order if turn == 0]
    names = firsts if count <= len(firsts) else [name for _, name in sorted(order)]
    return spread(names, count) if count else []
