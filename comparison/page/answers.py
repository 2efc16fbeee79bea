"""Answers of listening tests: ratings, post-screened as in ITU-R BS.1534, and how often codecs were told apart."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import scipy.stats
from tabulate import tabulate

from comparison.figures import plots
from comparison.numbers.tables import interval_text
from comparison.page.listening_test import REFERENCE
from measures.intervals import Interval, mean_with_interval
from nsc.errors import UserError
from utilities import atomic_write

ABX = "abx"
CHANCE = 0.5  # of a right answer without a difference
LEAST_FOR_REFERENCE = 90  # rating under which the hidden reference was missed
MOST_MISSED = 0.15  # share of trials
RATING_COLUMNS = ("trial_id", "rating_stimulus", "rating_score")


class Rating(NamedTuple):
    """What one listener gave one sound of one trial, 0 to 100."""

    listener: str
    trial: str
    stimulus: str
    score: float


def read_ratings(paths: Sequence[Path]) -> list[Rating]:
    """The ratings of answers of our own page (.json) and of webMUSHRA's mushra.csv files, without those of practice.

    Who took the test again under the same name counts as another listener.

    Raises:
        UserError: a file cannot be read or is none of these.
    """
    ratings: list[Rating] = []
    seen: dict[tuple[str, str, str], int] = defaultdict(int)
    for path in paths:
        for rating in _answers(path) if path.suffix == ".json" else _ratings(path):
            seen[rating[:3]] += 1
            count = seen[rating[:3]]
            ratings.append(rating if count == 1 else rating._replace(listener=f"{rating.listener} ({count})"))
    if not ratings:
        raise UserError("expected ratings, found none in the files; was the test sent?")
    return ratings


def read_answers(path: Path) -> dict[str, Any]:
    """What our own page saved.

    Raises:
        UserError: the file cannot be read or is not of such a page.
    """
    try:
        found = json.loads(path.read_text())
        found["method"], found["listener"], found["answers"]
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"expected answers of a listening test, found none: {path} ({error})") from None


def _answers(path: Path) -> list[Rating]:
    found = read_answers(path)
    kept = [each for each in found["answers"] if found["method"] == "mushra" and not each["training"]]
    rows = [(each["trial"], each["stimulus"], _number(path, {"rating_score": each["score"]})) for each in kept]
    return [Rating(found["listener"], *row) for row in rows]


def _ratings(path: Path) -> list[Rating]:
    """A listener is what the columns before the trial's say."""
    rows = _rows(path)
    return [Rating(who, row["trial_id"], row["rating_stimulus"], _number(path, row)) for row, who in rows]


def _rows(path: Path) -> list[tuple[dict[str, str], str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"expected webMUSHRA's mushra.csv, found what cannot be read: {path} ({error})") from None
    missing = [name for name in RATING_COLUMNS if name not in names]
    if missing:
        raise UserError(f"{path}: expected webMUSHRA's columns, found no {missing[0]}; give its mushra.csv")
    about = names[: names.index(RATING_COLUMNS[0])]
    return [(row, ", ".join(row[name] or "" for name in about[1:]) or path.stem) for row in rows]


def _number(path: Path, row: Mapping[str, Any]) -> float:
    try:
        score = float(row["rating_score"])
    except (TypeError, ValueError):
        score = math.nan
    if not 0 <= score <= 100:
        raise UserError(f"{path}: expected ratings from 0 to 100, found '{row['rating_score']}'; fix the line")
    return score


def unreliable_listeners(ratings: Sequence[Rating]) -> dict[str, float]:
    """Share of trials in which a listener rated the hidden reference under 90, where it is above 15 %.

    Post-screening of ITU-R BS.1534-3, section 4.1.2.
    """
    missed: defaultdict[str, list[bool]] = defaultdict(list)
    for rating in ratings:
        if rating.stimulus == REFERENCE:
            missed[rating.listener].append(rating.score < LEAST_FOR_REFERENCE)
    shares = {listener: sum(each) / len(each) for listener, each in missed.items()}
    return {listener: share for listener, share in shares.items() if share > MOST_MISSED}


def rated(ratings: Sequence[Rating]) -> dict[str, Interval]:
    """Mean over listeners of each sound, best first, with its 95 % interval over listeners."""
    groups: defaultdict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        groups[rating.stimulus].append(rating)
    found = {
        name: mean_with_interval([each.score for each in group], [each.listener for each in group])
        for name, group in groups.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].mean))


def report_answers(paths: Sequence[Path], output: Path) -> list[str]:
    """Analyses answers of either kind of test; returns the lines for a terminal.

    Raises:
        UserError: the files hold no answers, or no listener is left.
    """
    told = [path for path in paths if path.suffix == ".json" and read_answers(path)["method"] == ABX]
    rated_files = [path for path in paths if path not in told]
    return [*_report_abx(told, output), *(report_ratings(rated_files, output) if rated_files else [])]


def _report_abx(paths: Sequence[Path], output: Path) -> list[str]:
    """Writes abx.md where there are answers of such tests."""
    found = discriminations([answer for path in paths for answer in read_answers(path)["answers"]])
    if not found:
        return []
    rows = [
        [codec, f"{each.right} of {each.answers}", f"{each.low:.0%} to {each.high:.0%}", f"{each.chance:.3f}"]
        for codec, each in found.items()
    ]
    table = tabulate(rows, ["codec", "told from the original", "95 % interval", "by chance"], "github")
    atomic_write(output / "abx.md", f"{len(paths)} listeners\n\n{table}\n")
    return [f"{len(paths)} listeners", table]


def report_ratings(paths: Sequence[Path], output: Path) -> list[str]:
    """Writes ratings.md, plots/ratings.png and .svg; returns the lines for a terminal.

    Raises:
        UserError: the files hold no ratings, or no listener is left.
    """
    ratings = read_ratings(paths)
    excluded = unreliable_listeners(ratings)
    kept = [rating for rating in ratings if rating.listener not in excluded]
    if not kept:
        raise UserError("expected a listener who hears the hidden reference, found none; all of them were excluded")
    intervals = rated(kept)
    rows = [[name, interval_text(interval, 1)] for name, interval in intervals.items()]
    table = tabulate(rows, ["sound", "rating"], "github", disable_numparse=True)
    listeners = len({rating.listener for rating in kept})
    lines = [f"{listeners} listeners, {len({rating.trial for rating in kept})} trials, 95 % intervals over listeners"]
    lines += [
        f"excluded: {listener} rated the hidden reference under {LEAST_FOR_REFERENCE} in {share:.0%} of the trials"
        for listener, share in excluded.items()
    ]
    plots.draw_ratings(intervals, output / "plots")
    atomic_write(output / "ratings.md", "\n\n".join([*lines, table]) + "\n")
    return [*lines, table]


class Discrimination(NamedTuple):
    """How often listeners told a codec from the original, with the 95 % interval of the share (Wilson).

    chance: probability of as many right answers by guessing.
    """

    right: int
    answers: int
    low: float
    high: float
    chance: float


def discriminations(answers: Sequence[dict[str, Any]]) -> dict[str, Discrimination]:
    """Of each codec, from the answers of ABX trials, practice left out."""
    groups: defaultdict[str, list[bool]] = defaultdict(list)
    for answer in answers:
        if not answer["training"]:
            groups[answer["codec"]].append(answer["x"] == answer["answer"])
    found = {}
    for codec, right in sorted(groups.items()):
        test = scipy.stats.binomtest(sum(right), len(right), CHANCE, alternative="greater")
        interval = scipy.stats.binomtest(sum(right), len(right)).proportion_ci(method="wilson")
        found[codec] = Discrimination(sum(right), len(right), interval.low, interval.high, test.pvalue)
    return found
