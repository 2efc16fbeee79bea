"""A grid of models: a TOML file with axes, every combination of whose values is a model to train."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from nsc.errors import UserError

LABEL = "label"  # of a named value, for people; all else in it are flags
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_+.-]")


@dataclass(frozen=True)
class Point:
    """One model of a grid.

    Attributes:
        name: what tells it from the grid's others.
        labels: of its value on each axis.
        flags: of main.py.
        start: target kbps that its first training aims at, 0 for that of its flags.
    """

    name: str
    labels: dict[str, str]
    flags: dict[str, str]
    start: float = 0.0

    @property
    def kbps(self) -> float:
        """The rate that its files should have, 0 where it has none."""
        return float(self.flags.get("target_kbps", 0))


@dataclass(frozen=True)
class Value:
    """A value on an axis: its name, a label for people, and the flags that it stands for."""

    name: str
    label: str
    flags: dict[str, str]


@dataclass(frozen=True)
class Grid:
    """What a sweep trains.

    Attributes:
        axes: the values of each; the first axis changes slowest.
        name: of the sweep, part of its runs' names.
        modes: training modes, one after the other; finetuning (5) is left out where there is one codec only.
        flags: of main.py, equal for all models.
        also: further flags of models whose flags lie above a value; what an axis sets stays.
        repeat: the axis that only repeats, such as seeds: results are means over it.
        tolerance: share by which files may miss the target rate until a model is trained again; 0 for any.
        tries: trainings until the nearest is taken.
        evaluate: score models by mode 0; if not, their ids are printed for report.py.
        label: of a model in comparisons, with its axes in braces.
        curves: axes whose values have a line each in the figure.
        published: draw the papers' numbers, too.
        details: show parameters, soft-hard gap and movement of LSF levels, too.
        timit_split: divide a TIMIT tree into 300 training and 50 test speakers.
    """

    axes: dict[str, list[Value]]
    name: str = "sweep"
    modes: Sequence[int] = (4, 5)
    flags: dict[str, str] = field(default_factory=dict)
    also: Sequence[Mapping[str, Any]] = ()
    repeat: str = ""
    tolerance: float = 0.0
    tries: int = 3
    evaluate: bool = True
    label: str = ""
    curves: Sequence[str] = ()
    published: bool = False
    details: bool = False
    timit_split: bool = False

    def points(self) -> Iterator[Point]:
        """All models."""
        for values in itertools.product(*self.axes.values()):
            own = {flag: text for value in values for flag, text in value.flags.items()}
            flags = self.flags | own
            for rule in self.also:
                if all(float(flags.get(flag, 0)) > bound for flag, bound in rule["above"].items()):
                    flags |= _texts(rule["flags"]) | own
            name = "_".join(value.name for value in values)
            labels = {axis: value.label for axis, value in zip(self.axes, values, strict=True)}
            yield Point(NOT_IN_NAMES.sub("-", name), labels, flags)

    def rounds(self) -> list[list[Point]]:
        """Models by repetition: every one once before any twice."""
        found: dict[str, list[Point]] = {}
        for point in self.points():
            found.setdefault(point.labels.get(self.repeat, ""), []).append(point)
        return list(found.values())

    def apart(self, point: Point) -> tuple[str, ...]:
        """Labels of a model without the one that only repeats."""
        return tuple(label for axis, label in point.labels.items() if axis != self.repeat)

    def with_axis(self, setting: str) -> Grid:
        """The grid with the values of `AXIS=VALUES`: names of such that the axis has, or values of a flag.

        Raises:
            UserError: it is no such text, or the axis has no value of that name.
        """
        axis, found, text = setting.partition("=")
        if not (axis and found and text.strip()):
            raise UserError(f"argument --set: expected AXIS=VALUES, such as seed='0 1', got '{setting}'")
        known = {value.name: value for value in self.axes.get(axis, [])}
        if not any(len(value.flags) > 1 or axis not in value.flags for value in known.values()):
            return replace(self, axes=self.axes | {axis: _of_flag(axis, shlex.split(text))})
        for name in shlex.split(text):
            if name not in known:
                raise UserError(f"argument --set: {axis} has {', '.join(known)}, not '{name}'")
        return replace(self, axes=self.axes | {axis: [known[name] for name in shlex.split(text)]})


def read_grid(path: Path) -> Grid:
    """The grid of a TOML file.

    Raises:
        UserError: it is no grid.
    """
    try:
        values = tomllib.loads(path.read_text())
        axes = {axis: _values(axis, given) for axis, given in values.pop("axes").items()}
        return Grid(axes, **({"name": path.stem} | values | {"flags": _texts(values.get("flags", {}))}))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    except (KeyError, TypeError, AttributeError):
        names = ", ".join(each.name for each in fields(Grid))
        raise UserError(
            f"expected a grid in {path}: a table of axes, and values of {names} alone; correct it"
        ) from None


def _values(axis: str, given: list[Any] | Mapping[str, Mapping[str, Any]]) -> list[Value]:
    if isinstance(given, list):
        return _of_flag(axis, [_text(each) for each in given])
    return [
        Value(name, str(flags.get(LABEL, name)), _texts({key: each for key, each in flags.items() if key != LABEL}))
        for name, flags in given.items()
    ]


def _of_flag(flag: str, values: Sequence[str]) -> list[Value]:
    return [Value(f"{flag}{value}", value, {flag: value}) for value in values]


def _texts(flags: Mapping[str, Any]) -> dict[str, str]:
    return {flag: _text(value) for flag, value in flags.items()}


def _text(value: Any) -> str:
    """As the command line has it: lists with spaces between, switches as 1 and 0."""
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float | bool) else str(value)
