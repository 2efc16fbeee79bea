import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from corpus.find import find_speech, find_test_speech
from corpus.packed import PackedCorpus
from corpus.speech_file import SPLITS, SpeechFile
from nsc.errors import UserError
from tests.helpers.corpora import (
    Clips,
    names,
    plain_corpus,
    speakers_are_disjoint,
    splits_of,
    varied,
    write_clip,
)

# Finding speech: TIMIT


@pytest.fixture
def timit(tmp_path: Path, speech_clips: Clips, write_sphere: Callable[..., None]) -> Path:
    """Real speech in TIMIT's exact layout: SPHERE in TRAIN, RIFF in TEST, mixed case, one converted copy."""
    root = tmp_path / "TIMIT"
    clips = varied(speech_clips)
    for region, speaker in (("DR1", "FCJF0"), ("DR1", "MDAC0"), ("dr4", "mgag0"), ("DR8", "FCAU0")):
        for utterance in ("SA1", "SA2", "SI648", "SX37"):
            write_sphere(root / "TRAIN" / region / speaker / f"{utterance}.WAV", next(clips))
            (root / "TRAIN" / region / speaker / f"{utterance}.PHN").write_text("0 100 h#\n")
    for region, speaker in (("DR1", "FAKS0"), ("DR2", "mabw0")):
        for utterance in ("sa1.wav", "SX43.WAV", "si943.Wav"):
            write_clip(root / "Test" / region / speaker / utterance, next(clips))
    write_clip(root / "TRAIN" / "DR1" / "FCJF0" / "SA1.WAV.wav", speech_clips[0])
    return root


def test_timit_keeps_its_test_part_and_holds_validation_speakers_out_of_train(timit: Path) -> None:
    files = find_speech(timit)
    splits = splits_of(files)
    assert splits["test"] == {"FAKS0", "MABW0"}
    assert splits["train"] | splits["val"] == {"FCJF0", "MDAC0", "MGAG0", "FCAU0"}
    assert len(splits["val"]) == 1 and len(files) == 4 * 4 + 2 * 3 and speakers_are_disjoint(files)
    assert files == sorted(files, key=lambda file: file.path)


def test_timit_is_found_from_the_folder_above_it(timit: Path) -> None:
    assert find_speech(timit.parent) == find_speech(timit)


def test_the_test_part_of_timit_is_what_it_offers_for_testing(timit: Path) -> None:
    assert find_test_speech(timit) == [file for file in find_speech(timit) if file.split == "test"]
    assert len(find_test_speech(timit, sa_sentences=False)) == 4


def test_without_splits_of_its_own_a_corpus_is_tested_on_as_a_whole(timit: Path) -> None:
    files = find_test_speech(timit / "TRAIN")
    assert {file.split for file in files} == {"test"}
    assert {file.speaker.upper() for file in files} == {"FCJF0", "MDAC0", "MGAG0", "FCAU0"}
    assert len(files) == 16


def test_loose_recordings_are_tested_on_as_one_speaker(tmp_path: Path, speech_clips: Clips) -> None:
    for number in range(2):
        write_clip(tmp_path / "mine" / f"{number}.wav", speech_clips[number])
    assert [file.speaker for file in find_test_speech(tmp_path / "mine")] == ["mine", "mine"]


def test_validation_speakers_are_as_many_as_asked_for_and_chosen_by_the_seed(timit: Path) -> None:
    assert len(splits_of(find_speech(timit, validation_speakers=3))["val"]) == 3
    assert find_speech(timit, seed=5) == find_speech(timit, seed=5)
    assert len({tuple(splits_of(find_speech(timit, seed=seed))["val"]) for seed in range(20)}) == 4
    for wanted in (0, 4):
        with pytest.raises(UserError, match="speaker"):
            find_speech(timit, validation_speakers=wanted)


def test_sa_sentences_are_left_out_on_request(timit: Path) -> None:
    files = find_speech(timit, sa_sentences=False)
    assert len(files) == 4 * 2 + 2 * 2
    assert not [file for file in files if file.path.name.upper().startswith("SA")]
    assert splits_of(files) == splits_of(find_speech(timit))


def test_of_a_sphere_file_and_its_converted_copy_only_the_copy_is_used(timit: Path) -> None:
    found = names([file for file in find_speech(timit) if file.speaker == "FCJF0"], timit / "TRAIN" / "DR1" / "FCJF0")
    assert found == ["SA1.WAV.wav", "SA2.WAV", "SI648.WAV", "SX37.WAV"]


def test_every_timit_file_is_packed_whatever_its_container(timit: Path, tmp_path: Path) -> None:
    files = find_speech(timit)
    corpus = PackedCorpus.pack(files, tmp_path / "cache")
    assert corpus.left_out == []
    assert sum(len(corpus.files(split)) for split in SPLITS) == len(files)


def test_one_part_of_timit_is_split_by_its_speakers(timit: Path) -> None:
    files = find_speech(timit / "TRAIN")
    assert set().union(*splits_of(files).values()) == {"FCJF0", "MDAC0", "mgag0", "FCAU0"}
    assert speakers_are_disjoint(files) and all(splits_of(files).values())


# Finding speech: folders


def test_a_folder_per_speaker_is_split_by_speaker_in_about_80_8_12_percent(tmp_path: Path, speech_clips: Clips) -> None:
    files = find_speech(plain_corpus(tmp_path, speech_clips, 25))
    assert {split: len(speakers) for split, speakers in splits_of(files).items()} == {
        "train": 20,
        "val": 2,
        "test": 3,
    }
    assert speakers_are_disjoint(files) and find_speech(tmp_path) == files != find_speech(tmp_path, seed=1)


def test_librispeech_speakers_are_the_readers(tmp_path: Path, speech_clips: Clips) -> None:
    for part, reader, chapter in (
        ("dev-clean", 84, 121),
        ("dev-clean", 84, 122),
        ("dev-other", 116, 28),
        ("mini", 19, 7),
    ):
        folder = tmp_path / "LibriSpeech" / part / str(reader) / str(chapter)
        write_clip(folder / f"{reader}-{chapter}-0000.flac", speech_clips[0])
    for data_dir in (tmp_path, tmp_path / "LibriSpeech"):
        assert {file.speaker for file in find_speech(data_dir)} == {"84", "116", "19"}


def test_chapters_of_one_reader_are_not_taken_for_speakers(tmp_path: Path, speech_clips: Clips) -> None:
    for chapter in range(4):
        write_clip(tmp_path / "19" / str(chapter) / f"19-{chapter}-0001.flac", speech_clips[0])
    with pytest.raises(UserError, match=r"at least 3 speakers .* found 1 \(19\); .*manifest.csv"):
        find_speech(tmp_path / "19")


@pytest.mark.parametrize("audio", ["wav48", "wav48_silence_trimmed", "VCTK-Corpus/wav48"])
def test_vctk_speakers_are_the_folders_below_the_audio_root(tmp_path: Path, speech_clips: Clips, audio: str) -> None:
    for speaker, clip in zip(("p225", "p226", "s5"), speech_clips, strict=False):
        write_clip(tmp_path / audio / speaker / f"{speaker}_001_mic1.flac", clip)
    assert {file.speaker for file in find_speech(tmp_path)} == {"p225", "p226", "s5"}


def test_recordings_in_a_folder_of_the_speakers_folder_belong_to_the_speaker(
    tmp_path: Path, speech_clips: Clips
) -> None:
    clips = varied(speech_clips)
    for speaker in ("anna", "ben", "chen"):
        write_clip(tmp_path / speaker / "wav" / "a1.wav", next(clips))
        write_clip(tmp_path / speaker / "session two" / "a1.OGG", next(clips))
    files = find_speech(tmp_path)
    assert {file.speaker for file in files} == {"anna", "ben", "chen"} and len(files) == 6


def test_hidden_files_are_no_speech(tmp_path: Path, speech_clips: Clips) -> None:
    expected = find_speech(plain_corpus(tmp_path, speech_clips, 3))
    write_clip(tmp_path / "speaker0" / "._first.wav", speech_clips[0])
    write_clip(tmp_path / ".trash" / "first.wav", speech_clips[0])
    assert find_speech(tmp_path) == expected


def test_folders_without_speakers_are_told_what_to_do(tmp_path: Path, speech_clips: Clips) -> None:
    with pytest.raises(UserError, match="expected a folder of speech, found none"):
        find_speech(tmp_path / "absent")
    with pytest.raises(UserError, match="expected wav, flac or ogg files, found none"):
        find_speech(tmp_path)
    plain_corpus(tmp_path, speech_clips, 2)
    with pytest.raises(UserError, match="at least 3 speakers for disjoint splits, found 2"):
        find_speech(tmp_path)
    write_clip(tmp_path / "stray.wav", speech_clips[0])
    with pytest.raises(UserError, match=r"expected a folder per speaker, found stray\.wav in none"):
        find_speech(tmp_path)


# Finding speech: manifests


def write_manifest(folder: Path, *rows: str, header: str = "path,speaker,split") -> None:
    (folder / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")


def test_a_manifest_decides_speakers_and_splits(speech_folder: Path) -> None:
    files = find_speech(speech_folder)
    assert splits_of(files) == {"train": {"allison", "june"}, "val": {"carlo"}, "test": {"ivrvoice"}}
    with (speech_folder / "manifest.csv").open(newline="") as file:
        listed = {(row["path"], row["speaker"], row["split"]) for row in csv.DictReader(file)}
    assert {
        (name, file.speaker, file.split) for name, file in zip(names(files, speech_folder), files, strict=True)
    } == listed


def test_a_speaker_in_two_splits_is_named(tmp_path: Path, speech_clips: Clips) -> None:
    plain_corpus(tmp_path, speech_clips, 2)
    write_manifest(tmp_path, "speaker0/first.wav,anna,train", "speaker1/first.wav,anna,test")
    with pytest.raises(UserError, match="found anna in train and test"):
        find_speech(tmp_path)


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (["speaker0/first.wav,anna"], "path,speaker", "found no split"),
        ([], "path,speaker,split", "found none"),
        (
            ["speaker0/first.wav,anna,train", "gone.wav,ben,val"],
            "path,speaker,split",
            "1 of 2 files do not exist",
        ),
        (["speaker0/first.wav,anna,dev"], "path,speaker,split", "line 2: .* found 'dev'"),
        (["speaker0/first.wav,,train"], "path,speaker,split", "line 2: .* empty field"),
        (["speaker0/first.wav"], "path,speaker,split", "line 2: .* empty field"),
    ],
)
def test_faults_of_a_manifest_are_told(
    tmp_path: Path, speech_clips: Clips, rows: list[str], header: str, words: str
) -> None:
    plain_corpus(tmp_path, speech_clips, 1)
    write_manifest(tmp_path, *rows, header=header)
    with pytest.raises(UserError, match=words):
        find_speech(tmp_path)


# The research corpus


def speakers_by_split(files: Sequence[SpeechFile]) -> list[int]:
    return [len({file.speaker for file in files if file.split == split}) for split in SPLITS]


def test_the_research_corpus_is_found_whole_and_disjoint(research_corpus: Path) -> None:
    files = find_speech(research_corpus)
    assert speakers_by_split(files) == [370, 25, 55] and speakers_are_disjoint(files)
