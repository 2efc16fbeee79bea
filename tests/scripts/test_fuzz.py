"""The fuzzer finds nothing, tries the same for the same seed, and would find something."""

from pathlib import Path

import numpy as np
import pytest

import nsc
from nsc import format as bitstream
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.format import group as group_format
from runs.saved_model import SavedModel, save_model
from scripts import fuzz
from scripts.fuzzing import models, streams
from scripts.fuzzing.targets import files_of, shipped_targets

SEED = 20
STREAMS, SOUNDS, MODELS, FOLDERS, COMMANDS, SEQUENCES, PACKETS, DATAGRAMS = 2000, 1000, 60, 60, 400, 2000, 500, 100


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("streams", STREAMS),
        ("sounds", SOUNDS),
        ("folders", FOLDERS),
        ("sequences", SEQUENCES),
        ("packets", PACKETS),
        ("datagrams", DATAGRAMS),
        ("commands", COMMANDS),
    ],
)
def test_hostile_input_under_right_checksums_breaks_no_promise(kind: str, count: int) -> None:
    summary = fuzz.fuzz(fuzz.KINDS[kind](SEED), count, SEED)
    print(*summary.lines(), sep="\n")
    assert summary.broken == []
    assert summary.tried == count
    assert len(summary.outcomes) >= 3


def test_hostile_models_under_a_right_hash_are_refused_or_code(coding_model: SavedModel, tmp_path: Path) -> None:
    save_model(tmp_path, "first", coding_model.cascade, coding_model.tables, 2)
    mutations = models.MutatedModels(tmp_path / "stages" / "first", tmp_path / "copy")
    summary = fuzz.fuzz(lambda generator: models.outcome(mutations.make(generator)), MODELS, SEED)
    assert summary.broken == []
    assert set(summary.outcomes) == {"refused", "loaded"}


def test_the_same_seed_tries_the_same() -> None:
    files = files_of(shipped_targets()[:1], np.random.default_rng(SEED))
    again = files_of(shipped_targets()[:1], np.random.default_rng(SEED))
    assert files == again
    tries = [streams.mutated(files, np.random.default_rng((SEED, trial))) for trial in (3, 3, 4)]
    assert tries[0] == tries[1] != tries[2]


def test_drawn_files_decode_whole_under_every_model_that_ships() -> None:
    targets = shipped_targets()
    assert len(targets) >= 3
    by_hash = {target.digest: target for target in targets}
    for data in files_of(targets, np.random.default_rng(SEED)):
        assert streams.outcome(data, by_hash, 50) == "whole"


def test_a_decoder_that_breaks_is_reported_with_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(coder: SymbolCoder, payloads: list[bytes], num_frames: int) -> dict[str, np.ndarray]:
        raise IndexError("out of range")

    attempt = fuzz.streams(SEED)
    monkeypatch.setattr(SymbolCoder, "decode", broken)
    summary = fuzz.fuzz(attempt, 20, SEED)
    assert summary.broken
    assert f"seed {SEED}, trial" in summary.lines()[-1]


def test_targets_are_the_models_that_ship() -> None:
    assert [target.digest for target in shipped_targets()] == [model.digest for model in nsc.models()]


def contents_or_error(data: bytes) -> bitstream.Contents | str:
    try:
        return bitstream.read_contents(data)
    except bitstream.BitstreamError as error:
        return type(error).__name__


def test_the_search_in_one_sweep_finds_what_a_search_byte_by_byte_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of(shipped_targets(), np.random.default_rng(SEED))
    damaged = [streams.mutated(files, np.random.default_rng((SEED, trial))) for trial in range(300)]
    in_sweeps = list(map(contents_or_error, damaged))
    monkeypatch.setattr(group_format, "_FEWEST_SEARCHED", 2**31)
    assert list(map(contents_or_error, damaged)) == in_sweeps
    assert sum(isinstance(found, bitstream.Contents) and found.damaged_bytes > 100 for found in in_sweeps) > 30
