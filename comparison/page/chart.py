"""Data of the page's figure and table, which a reader filters by sex, corpus and rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from comparison.figures import plots
from comparison.numbers import tables
from comparison.numbers.curves import Curves, curves_of
from comparison.numbers.points import MEASURES, SEXES, Point
from comparison.results import Result


def chart_of(points: Sequence[Point], measures: Sequence[str]) -> dict[str, Any]:
    """Data of the page's figure and table: every codec's scores over all files, and over each group of them.

    A group is a sex and a part of the corpus, `sex|part`, either of which may be empty for all.
    """
    curves = curves_of(points)
    families = {id(point): name for name, curve in curves.items() for point in curve}
    colours = plots.colours_of(curves)
    parts = ["", *sorted({result.collection for point in points for result in point.results})]
    sexes = [sex for sex in SEXES if any(result.sex == sex for point in points for result in point.results)]
    groups = {
        f"{sex}|{part}": [_group_row(point.part(partial(_belongs, sex, part)), measures) for point in points]
        for sex in ["", *sexes]
        for part in (parts if len(parts) > 2 else [""])
    }
    codecs = [
        {"label": point.label, "family": families[id(point)], "kind": point.codec.kind, "delay": point.delay_ms}
        | {"fair": [name for name in measures if point.comparable(name)]}
        for point in points
    ]
    return {
        "measures": {name: {"title": MEASURES[name].title, "digits": MEASURES[name].digits} for name in measures},
        "codecs": codecs,
        "groups": groups,
        "families": [
            {"name": name, "colour": colours[name], "quiet": _has_better_twin(name, curves)} for name in curves
        ],
        "sexes": [{"value": sex, "name": SEXES[sex]} for sex in sexes],
        "parts": parts[1:] if len(parts) > 2 else [],
        "headings": ["codec", "kbps", "delay ms", *(MEASURES[name].title for name in measures), "worst", "flagged"],
    }


def _has_better_twin(family: str, curves: Curves) -> bool:
    """Whether a curve is not shown at first: a constant rate where the variable one is there."""
    return family.endswith(" CBR") and f"{family.removesuffix('CBR')}VBR" in curves


def _belongs(sex: str, part: str, result: Result) -> bool:
    return sex in ("", result.sex) and part in ("", result.collection)


def _group_row(point: Point | None, measures: Sequence[str]) -> dict[str, Any] | None:
    """Rate, scores and the table's cells of a codec over a group of files."""
    if not point:
        return None
    first = measures[0] if measures else ""
    intervals = {name: point.intervals[name] for name in measures if name in point.intervals}
    worst = point.worst(first) if first else math.nan
    cells = [
        (point.label, point.label),
        (f"{point.kbps:.2f}", point.kbps),
        (tables.delay_text(point), point.delay_ms or ""),
        *((tables.value_text(point, name), intervals[name].mean if name in intervals else "") for name in measures),
        (f"{worst:.{MEASURES[first].digits}f}" if math.isfinite(worst) else tables.NOTHING, worst),
        (str(point.flagged), point.flagged),
    ]
    return {
        "kbps": point.kbps,
        "scores": {
            name: [each.mean, each.half_width if math.isfinite(each.half_width) else 0]
            for name, each in intervals.items()
            if math.isfinite(each.mean)
        },
        "cells": [
            {"text": text, "value": value if not isinstance(value, float) or math.isfinite(value) else ""}
            for text, value in cells
        ],
    }
