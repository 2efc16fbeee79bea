"""Listening tests: what webMUSHRA gets, and how its ratings are read, screened and averaged."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import soundfile

import report
from comparison.page.answers import Rating, rated, read_ratings, unreliable_listeners
from comparison.page.listening_test import REFERENCE, level_matched, low_passed
from comparison.peers.baselines import write_flac
from comparison.results import Codec, Result, Store
from tests.helpers.places import CORPUS
from utilities import load_speech, to_int16

CLIPS = sorted(CORPUS.rglob("*.flac"))[:2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two clips through ten codecs that only change the level, one of them so that it clips."""
    made = Store(tmp_path / "report")
    for number in range(10):
        name = f"codec-{number}"
        made.describe(Codec(name, f"codec {number}", "family", "peer"))
        for place, clip in enumerate(CLIPS):
            signal = load_speech(clip)
            decoded = tmp_path / f"{name}-{place}.flac"
            write_flac(decoded, to_int16(signal * (0.1 * number + 0.1)))
            made.append(
                [
                    Result(
                        codec=name,
                        layer=0,
                        loss=0.0,
                        corpus=str(CORPUS),
                        file=str(clip.relative_to(CORPUS)),
                        speaker=str(place),
                        seconds=len(signal) / 16_000,
                        bits=1000,
                        decoded=str(decoded),
                        measures={"snr": 1.0},
                    )
                ]
            )
    return made


def export(store: Store, *flags: str) -> int:
    to = str(store.output.parent / "test")
    return report.main(["export", "--output", str(store.output), "--to", to, *flags])


def test_webmushra_gets_a_page_for_every_file_with_anchors_and_codecs(store: Store) -> None:
    assert export(store, "--codecs", "codec 1", "codec 7", "--trials", "5") == 0
    folder = store.output.parent / "test"
    head, pages = (folder / "configs" / "speech_codecs.yaml").read_text().split("\npages:\n")
    welcome, volume, (order, *trials), finish = (json.loads(line.removeprefix("  - ")) for line in pages.splitlines())
    assert 'testId: "speech_codecs"' in head.splitlines()
    assert [page["type"] for page in (welcome, volume, finish)] == ["generic", "volume", "finish"]
    assert order == "random" and len(trials) == 2
    assert finish["writeResults"] is True
    for trial in trials:
        assert set(trial["stimuli"]) == {"anchor35", "anchor70", "codec-1", "codec-7"}
        sounds = [soundfile.read(folder / path) for path in (trial["reference"], *trial["stimuli"].values())]
        assert {rate for _, rate in sounds} == {48_000}
        assert len({len(signal) for signal, _ in sounds}) == 1
        levels = [np.sqrt(np.mean(signal**2)) for signal, _ in sounds]
        assert levels == pytest.approx([levels[0]] * 5, rel=2e-3)


def test_more_sounds_than_a_listener_can_rate_are_refused(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(store, "--codecs", "codec*") == 2
    assert "expected at most 9 codecs in a trial, found 10" in capsys.readouterr().err
    assert not (store.output.parent / "test").exists()


@pytest.mark.parametrize("cutoff", [3500.0, 7000.0])
def test_an_anchor_loses_what_lies_above_its_frequency_and_comes_without_delay(cutoff: float) -> None:
    time = np.arange(16_000) / 16_000
    inside, outside = (np.sin(2 * np.pi * (cutoff + offset) * time) for offset in (-300, 300))
    middle = slice(1000, -1000)
    assert np.allclose(low_passed(inside + outside, cutoff)[middle], inside[middle], atol=2e-3)


def test_levels_are_the_reference_s_and_nothing_clips() -> None:
    random = np.random.default_rng(0)
    sounds = {REFERENCE: 0.1 * random.standard_normal(16_000), "thin": np.zeros(16_000), "mute": np.zeros(16_000)}
    sounds["thin"][100] = 0.5
    matched = level_matched(sounds)
    assert max(np.max(np.abs(each)) for each in matched.values()) <= 0.981
    assert np.sqrt(np.mean(matched["thin"] ** 2)) == pytest.approx(np.sqrt(np.mean(matched[REFERENCE] ** 2)))
    assert not np.any(matched["mute"])


def write_csv(path: Path, rows: list[tuple[str, str, str, object]]) -> Path:
    """As webMUSHRA's service writes it, with the one question of the exported test."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = ("session_test_id", "listener", "trial_id", "rating_stimulus", "rating_score", "rating_time")
        writer.writerow([*names, "rating_comment"])
        writer.writerows(["speech_codecs", *row, 1234, ""] for row in rows)
    return path


def rows_of(listener: str, reference: list[float], codec: float) -> list[tuple[str, str, str, object]]:
    """A listener's ratings of the reference in each trial, and of one codec in all of them."""
    rows: list[tuple[str, str, str, object]] = []
    for number, score in enumerate(reference):
        rows += [(listener, f"trial_{number}", "reference", score), (listener, f"trial_{number}", "ours", codec)]
    return rows


def test_listeners_who_miss_the_hidden_reference_in_more_than_15_per_cent_of_trials_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    good = [100.0] * 17 + [89.0] * 3  # 15 % exactly
    rows = rows_of("anna", good, 70) + rows_of("bert", [90.0] * 20, 60) + rows_of("carl", [100.0] * 16 + [0.0] * 4, 5)
    path = write_csv(tmp_path / "mushra.csv", rows)
    assert report.main(["ratings", str(path), "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "2 listeners, 20 trials" in printed
    assert "excluded: carl rated the hidden reference under 90 in 20% of the trials" in printed
    half_width = scipy.stats.t.ppf(0.975, 1) * 5
    assert f"65.0 ±{half_width:.1f}" in (tmp_path / "ratings.md").read_text()
    assert (tmp_path / "plots" / "ratings.png").is_file() and (tmp_path / "plots" / "ratings.svg").is_file()


def test_intervals_are_over_listeners_and_the_best_sound_stands_first() -> None:
    ratings = [Rating(who, trial, "a", score) for who, score in (("x", 40.0), ("y", 60.0)) for trial in "123"]
    ratings += [Rating("x", "1", "b", 90.0), Rating("y", "1", "b", 92.0)]
    found = rated(ratings)
    assert list(found) == ["b", "a"]
    assert found["a"].mean == 50
    assert found["a"].half_width == pytest.approx(scipy.stats.t.ppf(0.975, 1) * 10)


def test_a_test_taken_twice_under_one_name_counts_as_two_listeners(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "mushra.csv", rows_of("anna", [100.0], 50) * 2)
    assert {rating.listener for rating in read_ratings([path])} == {"anna", "anna (2)"}
    assert unreliable_listeners(read_ratings([path])) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "found no trial_id"),
        ("session_test_id,trial_id,rating_stimulus,rating_score\nx,t,reference,many\n", "found 'many'"),
        ("session_test_id,trial_id,rating_stimulus,rating_score\n", "expected ratings, found none"),
        ("session_test_id,trial_id,rating_stimulus,rating_score\nx,t,reference,10\n", "all of them were excluded"),
    ],
)
def test_bad_ratings_end_in_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mushra.csv").write_text(text)
    assert report.main(["ratings", str(tmp_path / "mushra.csv"), "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_file_of_ratings_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["ratings", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err
