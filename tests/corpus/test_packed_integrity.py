"""Packed speech is checked when it is first used: no damage is read as speech or as silence."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from corpus.find import find_speech
from corpus.packed import PackedCorpus
from nsc.errors import UserError

SAMPLES, INDEX = "samples.int16", "index.npz"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, speech_folder: Path) -> Path:
    return PackedCorpus.pack(find_speech(speech_folder), tmp_path_factory.mktemp("packed")).folder


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "copy"))


def read_all(corpus: PackedCorpus) -> None:
    frames = np.concatenate([corpus.frame_indices(split) for split in ("train", "val", "test")])
    for start in range(0, len(frames), 64):
        corpus.contexts(frames[start : start + 64], pre_emphasis=True, high_pass=False)


def test_whole_speech_is_read_as_it_was_packed(copy: Path) -> None:
    read_all(PackedCorpus(copy))


def test_any_flipped_bit_of_the_samples_is_named(copy: Path) -> None:
    whole = (copy / SAMPLES).read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(20):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        (copy / SAMPLES).write_bytes(damaged)
        with pytest.raises(UserError, match=r"the samples of .*\.flac are damaged; delete this folder and try again"):
            read_all(PackedCorpus(copy))


def test_samples_that_are_cut_while_they_are_open_are_told(copy: Path) -> None:
    corpus = PackedCorpus(copy)
    read_all(corpus)
    os.truncate(copy / SAMPLES, 1000)
    with pytest.raises(UserError, match="found a damaged file"):
        read_all(corpus)


def test_a_recording_is_checked_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, asked, pread = PackedCorpus(copy), [], os.pread

    def counted(*arguments: int) -> bytes:
        asked.append(arguments)
        return pread(*arguments)

    monkeypatch.setattr(os, "pread", counted)
    read_all(corpus)
    read_all(corpus)
    assert len(asked) == len(find_speech(Path(__file__).parents[1] / "data"))


def test_a_damaged_index_is_refused_or_says_the_same(copy: Path) -> None:
    whole = (copy / INDEX).read_bytes()
    expected = PackedCorpus(copy).checksums()
    rng = np.random.default_rng(6)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        (copy / INDEX).write_bytes(damaged)
        try:
            corpus = PackedCorpus(copy)
        except UserError as error:
            refused += 1
            assert "found a damaged file" in str(error)
        else:  # a date or another field of the archive
            assert corpus.checksums() == expected
            read_all(corpus)
    assert refused > 200


def test_an_index_cut_anywhere_is_refused(copy: Path) -> None:
    whole = (copy / INDEX).read_bytes()
    for length in range(0, len(whole), 97):
        (copy / INDEX).write_bytes(whole[:length])
        with pytest.raises(UserError, match="found a damaged file"):
            PackedCorpus(copy)
