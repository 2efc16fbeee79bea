"""The papers' experiment: its flags, the hours it would take, and the speakers of TIMIT."""

from __future__ import annotations

import csv
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from comparison.peers.published import CLAIMS, PESQ_ON_TIMIT
from corpus.find import find_speech
from corpus.shards import Packing, pack_shards
from corpus.speech_file import SpeechFile
from nsc.errors import UserError
from options.config import parse_flags
from scripts.speech.timit_split import split_timit
from scripts.sweep.__main__ import corpus_of
from scripts.sweep.hours import amounts, evaluation_hours, training_hours, validation_hours
from tests.helpers.places import CORPUS, ROOT

pytestmark = pytest.mark.slow

TINY = [f"--{flag}" for flag in ("resnet_type=folded", "fold=32", "folded_width=16", "folded_narrow=8")]


def test_the_published_numbers_are_those_of_the_papers() -> None:
    assert PESQ_ON_TIMIT["K-Net, published"][0] == (9.02, 3.63)
    assert [len(points) for points in PESQ_ON_TIMIT.values()] == [5, 4, 5, 5]


def test_the_page_on_the_first_implementation_has_the_published_numbers_and_claims_with_their_sources() -> None:
    page = (ROOT / "docs" / "original.md").read_text()
    for rates in PESQ_ON_TIMIT.values():
        assert all(f"{pesq:.2f}" in page for _, pesq in rates)
    for name, (claim, source) in CLAIMS.items():
        assert f"| {name} | {claim} |" in page and source.rpartition("doi:")[2] in page


def test_the_page_shows_what_the_record_of_the_experiment_adds_up_to_within_two_per_cent_of_each_rate() -> None:
    page = (ROOT / "docs" / "original.md").read_text()
    with (ROOT / "results" / "paper" / "files.csv").open() as lines:
        files = list(csv.DictReader(lines))
    systems = itertools.groupby(files, key=lambda file: (file["target_kbps"], file["system"], file["stage"]))
    for (target, system, stage), found in systems:
        group = list(found)
        seconds = np.array([float(file["seconds"]) for file in group])
        kbps = np.average([float(file["kbps"]) for file in group], weights=seconds)
        pesq = np.mean([float(file["pesq_wb"]) for file in group])
        assert kbps == pytest.approx(float(target), rel=0.02)
        [row] = [line for line in page.splitlines() if line.startswith(f"| {target} | {system} | {stage} |")]
        assert f"| {len({file['seed'] for file in group})} | {kbps:.2f} | {pesq:.2f} ±" in row


def test_hours_grow_with_steps_and_with_what_is_trained() -> None:
    def hours(*flags: str) -> float:
        return training_hours(parse_flags([*TINY, "--steps_per_epoch", "100", *flags])[0], 0, 1e9)

    one = hours("--training_mode", "1", "--num_resnets", "1", "--epoch_tanh", "1")
    assert hours("--training_mode", "1", "--num_resnets", "1", "--epoch_tanh", "3") == pytest.approx(3 * one)
    followers = hours("--training_mode", "2", "--num_resnets", "2", "--epoch_greedy_followers", "1 1")
    assert followers == pytest.approx(one * 4 / 3)  # the first codec runs forward only
    assert hours("--training_mode", "5", "--num_resnets", "2", "--epoch_greedy_followers", "1 1") == pytest.approx(
        2 * one
    )


def test_hours_of_evaluation_grow_with_the_test_speech() -> None:
    config = parse_flags([*TINY, "--num_resnets", "1"])[0]
    assert evaluation_hours(config, 7200, 1e12) == pytest.approx(2 * evaluation_hours(config, 3600, 1e12))
    assert 0.08 < evaluation_hours(config, 3600, 1e12) < 0.1


def test_hours_of_validation_grow_with_epochs_and_files() -> None:
    def hours(*flags: str) -> float:
        return validation_hours(parse_flags([*TINY, "--training_mode", "1", "--num_resnets", "1", *flags])[0], 1e12)

    one = hours("--epoch_tanh", "1", "--validation_files", "5")
    assert hours("--epoch_tanh", "3", "--validation_files", "10") == pytest.approx(6 * one)
    assert one == pytest.approx(0.08 * 30 / 3600, rel=0.01)  # six seconds of each, and next to nothing of networks


def test_packed_and_plain_speech_count_alike(tmp_path: Path) -> None:
    packing = Packing(str(CORPUS), shard_hours=1.0)
    pack_shards(packing, tmp_path / "packed")
    plain, packed = amounts(CORPUS, 0), amounts(tmp_path / "packed", 0)
    assert packed.frames == pytest.approx(plain.frames, rel=0.2)  # silent frames are not packed
    assert packed.seconds == pytest.approx(plain.seconds, rel=0.01)
    assert amounts(CORPUS, 1).seconds < plain.seconds


def reproduce(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "scripts" / "reproduce_paper.sh"), *arguments]
    environment = os.environ | {"REPRODUCE_PYTHON": sys.executable}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_dry_run_prints_each_training_with_its_hours_and_trains_nothing(tmp_path: Path) -> None:
    only = ["--methods", "cq", "--strides", "2", "--kbps", "9", "24", "--", *TINY]
    finished = reproduce(str(CORPUS), "--dry_run", "--output", str(tmp_path / "out"), *only)
    assert finished.returncode == 0, finished.stderr
    assert "3 trainings with their evaluation, about" in finished.stdout
    assert finished.stdout.count("main.py --training_mode") == 3
    assert "--target_kbps 24 --the_strides 2 --is_cq 1 --resnet_type=folded" in finished.stdout.replace(
        "--num_resnets 2 ", ""
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry_run"], "the following arguments are required: --data_dir"),
        (["speech", "--methods", "opus"], "method has knet, cmrl, lpc_cmrl, cq, not 'opus'"),
        (["speech", "--bitrates", "9"], "unrecognized arguments: --bitrates 9"),
    ],
)
def test_bad_arguments_end_in_one_line(arguments: list[str], message: str) -> None:
    finished = reproduce(*arguments)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def timit_files(trained: int, tested: int) -> list[SpeechFile]:
    return [
        SpeechFile(Path(f"/t/{part}/dr1/{part}{speaker}/s{sentence}.wav"), f"{part}{speaker}", split)
        for part, split, count in (("train", "train", trained), ("test", "test", tested))
        for speaker in range(count)
        for sentence in range(2)
    ]


def test_timit_is_split_into_300_20_and_50_speakers_on_every_machine_alike() -> None:
    chosen = split_timit(timit_files(462, 168))
    speakers = {split: {file.speaker for file in chosen if file.split == split} for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in speakers.items()} == {"train": 300, "val": 20, "test": 50}
    assert len(chosen) == 2 * 370
    assert split_timit(list(reversed(timit_files(462, 168))))[::-1] == chosen
    assert all(speaker.startswith("test") for speaker in speakers["test"])


def test_less_than_timit_is_refused() -> None:
    with pytest.raises(UserError, match="found 462 and 20"):
        split_timit(timit_files(462, 20))


def test_the_manifest_of_timit_can_be_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.speech.timit_split.TRAINED", 2)
    monkeypatch.setattr("scripts.speech.timit_split.VALIDATED", 1)
    monkeypatch.setattr("scripts.speech.timit_split.TESTED", 1)
    for file in timit_files(4, 2):
        path = tmp_path / "timit" / file.path.relative_to("/t")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    folder = corpus_of(tmp_path / "timit", tmp_path / "out")
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    assert len(find_speech(folder)) == 8
