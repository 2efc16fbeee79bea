"""Conditions scored by the jury: saved models, other codecs, and folders of decoded files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from comparison.cluster import Place
from comparison.compare import Terms, compare
from comparison.decoded import decoded_folder
from comparison.numbers.curves import paired_differences
from comparison.numbers.points import points_of
from comparison.results import Codec, Recording, Result, Store
from corpus.speech_file import SpeechFile
from nsc.errors import UserError
from scripts import jury

JUDGES = ["pesq_wb", "time_structure", "octave_levels"]


@pytest.fixture
def references(tmp_path: Path, speech_clips: list[NDArray[np.int16]]) -> Path:
    """Two validation speakers with a file each, and one who trains."""
    folder = tmp_path / "speech"
    rows = ["path,speaker,split"]
    for number, split in enumerate(("val", "val", "train")):
        path = folder / f"s{number}" / "clip.flac"
        path.parent.mkdir(parents=True)
        soundfile.write(path, speech_clips[number], 16_000)
        rows.append(f"s{number}/clip.flac,s{number},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def decoded(references: Path, gain: float, folder: Path) -> Path:
    for path in references.rglob("*.flac"):
        target = folder / path.relative_to(references).with_suffix(".wav")
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, gain * soundfile.read(path)[0], 16_000)
    return folder


def test_folders_of_decoded_files_are_scored_on_validation_speakers_and_compared_in_pairs(
    references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same, half = decoded(references, 1.0, tmp_path / "same"), decoded(references, 0.5, tmp_path / "half")
    places = ["--output", str(tmp_path / "out"), "--cache_dir", str(tmp_path / "cache")]
    flags = ["--data_dir", str(references), "--decoded", f"mine={same}", f"other={half}", "--measures", *JUDGES]
    assert jury.main([*flags, *places]) == 0
    table, differences = capsys.readouterr().out.split("Differences from mine, in pairs of each speaker")
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("|")}
    assert "4.64" in rows["mine"]
    assert rows["other"].count("-5.") == 7  # octaves, by 6 dB less what the floor takes off
    assert "| other" in differences and "| mine" not in differences
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        assert {row["speaker"] for row in csv.DictReader(file)} == {"s0", "s1"}


def test_a_decoded_file_of_another_content_is_scored_anew(references: Path, tmp_path: Path) -> None:
    files = [SpeechFile(references / "s0" / "clip.flac", "s0", "val")]
    levels = []
    for gain in (1.0, 0.5):
        coder = decoded_folder(f"mine={decoded(references, gain, tmp_path / 'mine')}", files, references)
        [result] = compare(
            [coder],
            [Recording(files[0].path, "s0")],
            Store(tmp_path / "out"),
            Terms(references, tmp_path / "cache", ["octave_levels"]),
            Place(1),
        )
        levels.append(result.measures["octave_500"])
    assert levels == pytest.approx([0, -6.02], abs=0.2)


def test_files_are_apart_by_what_the_manifest_says(
    references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data_dir", str(references), "--decoded", f"mine={decoded(references, 1.0, tmp_path / 'same')}"]
    places = ["--output", str(tmp_path / "out"), "--cache_dir", str(tmp_path / "cache")]
    assert jury.main([*flags, *places, "--measures", "octave_levels", "--by", "speaker"]) == 0
    _, first, second = capsys.readouterr().out.replace("\ns1\n", "\ns0\n").split("\ns0\n")
    assert all("| mine" in part and "| 1 " in part for part in (first, second))


def test_a_reference_without_its_decoded_file_is_named(references: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"expected s0/clip.flac in .*empty, found none"):
        decoded_folder(str(tmp_path / "empty"), [SpeechFile(references / "s0" / "clip.flac", "s0", "val")], references)


def test_nothing_to_score_and_an_unknown_split_end_in_one_line(
    references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jury.main(["--data_dir", str(references)]) == 2
    assert "expected something to score" in capsys.readouterr().err


def test_paired_differences_are_those_of_each_speaker() -> None:
    def result(codec: str, speaker: str, value: float) -> Result:
        return Result(codec, 0, 0.0, "c", f"{speaker}.wav", speaker, 1.0, 8, measures={"pesq_wb": value})

    scores = {"a": {"x": 1.0, "y": 3.0}, "b": {"x": 1.5, "y": 3.7, "z": 9.0}}
    found = [result(name, *each) for name, values in scores.items() for each in values.items()]
    points = {point.codec.name: point for point in points_of([Codec(name, name, name, "peer") for name in "ab"], found)}
    difference = paired_differences(points["b"], points["a"])["pesq_wb"]
    assert difference.mean == pytest.approx(0.6) and difference.speakers == 2
    assert difference.half_width == pytest.approx(12.706 * 0.1, rel=1e-3)  # far less than either's own
