"""Corpora as people have them: their suffixes, leftovers, links, folders and tables."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from corpus.find import audio_paths, find_speech, find_test_speech
from corpus.manifest import read_rows
from corpus.packed import PackedCorpus
from corpus.shards import Packing, pack_shards
from nsc.errors import UserError
from options.config import read_experiment
from training import modes

Clips = list[NDArray[np.int16]]
COLUMNS = ("path", "speaker", "split")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def write(path: Path, samples: NDArray[np.int16]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16_000)
    return path


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in audio_paths(folder)]


def test_every_suffix_that_can_be_read_is_found(tmp_path: Path) -> None:
    names = ["a/1.wav", "a/2.FLAC", "a/3.mp3", "a/4.opus", "a/5.m4a", "a/6.sph", "a/7.aiff", "a/8.au", "a/9.ogg"]
    touch(tmp_path, *names, "a/notes.txt", "a/1.TextGrid", "a/cover.jpg")
    assert found(tmp_path) == names


def test_what_macos_synology_and_windows_leave_behind_is_no_speech(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "__MACOSX/a/._1.wav", "a/@eaDir/1.wav/x.wav", "$RECYCLE.BIN/1.wav", "#recycle/2.wav")
    assert found(tmp_path) == ["a/1.wav"]


def test_a_loop_of_links_is_walked_once_and_real_folders_win_over_links(tmp_path: Path) -> None:
    touch(tmp_path, "zoe/1.wav")
    (tmp_path / "zoe" / "again").symlink_to(tmp_path)
    (tmp_path / "anna").symlink_to(tmp_path / "zoe")
    assert found(tmp_path) == ["zoe/1.wav"]


def test_a_link_to_speech_elsewhere_is_followed(tmp_path: Path) -> None:
    touch(tmp_path / "disk", "anna/1.wav")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "anna").symlink_to(tmp_path / "disk" / "anna")
    assert found(tmp_path / "corpus") == ["anna/1.wav"]


@pytest.mark.parametrize("validation", ["val", "dev", "Validation"])
def test_folders_train_val_and_test_are_the_splits(tmp_path: Path, validation: str) -> None:
    touch(tmp_path, "Train/anna/1.wav", "Train/ben/1.wav", f"{validation}/cleo/1.wav", "test/dan/1.wav")
    splits = {file.speaker: file.split for file in find_speech(tmp_path)}
    assert splits == {"anna": "train", "ben": "train", "cleo": "val", "dan": "test"}
    assert [file.speaker for file in find_test_speech(tmp_path)] == ["dan"]


def test_without_a_folder_val_speakers_of_train_are_held_out(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train/{name}/1.wav" for name in ("anna", "ben", "cleo")), "test/dan/1.wav")
    splits = [file.split for file in find_speech(tmp_path)]
    assert sorted(splits) == ["test", "train", "train", "val"]
    assert {file.speaker for file in find_speech(tmp_path) if file.split == "test"} == {"dan"}


def test_recordings_without_speakers_folders_are_split_as_they_are_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.wav", "val/1.wav", "test/1.wav")
    assert [file.split for file in find_speech(tmp_path)] == ["test", "train", "val"]


def test_a_speaker_in_two_of_the_folders_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/anna/1.wav", "train/ben/1.wav", "val/cleo/1.wav", "test/anna/2.wav")
    with pytest.raises(UserError, match="expected each speaker in one split, found anna"):
        find_speech(tmp_path)


TABLE = "path,speaker,split\nä.wav,Jürgen,train\nb.wav, Zoë ,test\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_table_is_read_in_the_encoding_it_has(tmp_path: Path, encoding: str, ends: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(TABLE.replace("\n", ends).encode(encoding))
    rows = read_rows(tmp_path / "manifest.csv", COLUMNS)
    assert [tuple(row.values()) for _, row in rows] == [("ä.wav", "Jürgen", "train"), ("b.wav", "Zoë", "test")]
    assert [line for line, _ in rows] == [2, 3]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'path,speaker,split\n"' + b"a" * 200_000, "line .*field larger than field limit"),
        (b"path,speaker\na,b\n", "found no split; add it"),
        (b"", "found no path; add it"),
        (bytes(50), "found no path"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        find_speech(tmp_path)
    assert "\n" not in str(error.value)


@pytest.fixture
def leak(tmp_path: Path, speech_clips: Clips) -> Path:
    """The same recording in train and test under two names, once as WAV and once as FLAC."""
    for place, (name, clip) in enumerate({"train/anna/1.wav": 0, "train/ben/1.wav": 3, "val/cleo/1.wav": 6}.items()):
        write(tmp_path / "corpus" / name, speech_clips[clip][: 16_000 + place])
    write(tmp_path / "corpus" / "test" / "dan" / "x.flac", speech_clips[0][:16_000])
    return tmp_path / "corpus"


def test_the_same_recording_in_two_splits_is_found_by_its_samples(leak: Path, tmp_path: Path) -> None:
    corpus = PackedCorpus.pack(find_speech(leak), tmp_path / "cache")
    assert [{file.split for file in pair} for pair in corpus.twins()] == [{"train", "test"}]
    with pytest.raises(UserError, match=r"the same samples in .*; take one of them out"):
        modes._check_splits(corpus)


def test_the_same_recording_in_two_splits_is_not_packed_in_shards(leak: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the same samples in train \(.*1\.wav\) and test \(.*x\.flac\)"):
        pack_shards(Packing(str(leak)), tmp_path / "packed")


def test_a_file_name_of_any_bytes_is_packed_and_comes_back(tmp_path: Path, speech_clips: Clips) -> None:
    for name in (b"anna", b"b\xe9n", b"cleo"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/corpus/" + name))
        folder.mkdir(parents=True)
        clip = write(tmp_path / "plain.wav", speech_clips[len(name)][:16_000])
        clip.rename(folder / os.fsdecode(b"latin1_" + name + b"\xff.wav"))
    files = find_speech(tmp_path / "corpus")
    corpus = PackedCorpus.pack(files, tmp_path / "cache")
    assert corpus.left_out == []
    assert {file.path for split in ("train", "val", "test") for file in corpus.files(split)} == {
        file.path for file in files
    }


def test_a_stream_whose_header_knows_no_length_costs_no_training(tmp_path: Path, speech_clips: Clips) -> None:
    for number, name in enumerate(("anna", "ben", "cleo")):
        path = write(tmp_path / "corpus" / name / "1.flac", speech_clips[number][:16_000])
        data = bytearray(path.read_bytes())
        data[21] &= 0xF0
        data[22:26] = bytes(4)
        path.write_bytes(data)
    manifest = pack_shards(Packing(str(tmp_path / "corpus")), tmp_path / "packed")
    assert manifest["left_out"] == []
    assert manifest["hours"] == pytest.approx(1 / 3600)


def test_an_experiment_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b'\xef\xbb\xbfsuffix = "_\xc3\xa4"\n')
    assert read_experiment(tmp_path / "mine.toml") == {"suffix": "_ä"}
