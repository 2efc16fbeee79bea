import csv
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from constants import HOP
from corpus import decode
from corpus.batches import steps_in_epoch, training_batches
from corpus.find import find_speech, find_test_speech
from corpus.interface import Order
from corpus.packed import PackedCorpus
from corpus.packing import pack_into
from corpus.speech_file import SPLITS, SpeechFile, split_summary
from nsc.errors import UserError
from tests.helpers.places import ROOT
from utilities import cut_frames, frame_gains, group_levels, high_pass, load_speech, pre_emphasise

Clips = list[NDArray[np.int16]]


def write_clip(path: Path, samples: NDArray[np.int16], rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # libsndfile would take the format from the name, and SA1.WAV.wav is RIFF like any other.
    format_name = {".flac": "FLAC", ".ogg": "OGG"}.get(path.suffix.lower(), "WAV")
    soundfile.write(path, samples, rate, format=format_name)
    return path


def names(files: Sequence[SpeechFile], folder: Path) -> list[str]:
    return [file.path.relative_to(folder).as_posix() for file in files]


def splits_of(files: Sequence[SpeechFile]) -> dict[str, set[str]]:
    return {split: {file.speaker for file in files if file.split == split} for split in ("train", "val", "test")}


def speakers_are_disjoint(files: Sequence[SpeechFile]) -> bool:
    splits = splits_of(files)
    return sum(map(len, splits.values())) == len(set().union(*splits.values()))


def plain_corpus(folder: Path, clips: Clips, speakers: int) -> Path:
    for number in range(speakers):
        write_clip(folder / f"speaker{number}" / "first.wav", clips[number % len(clips)])
    return folder


# Finding speech: TIMIT


@pytest.fixture
def timit(tmp_path: Path, speech_clips: Clips, write_sphere: Callable[..., None]) -> Path:
    """Real speech in TIMIT's exact layout: SPHERE in TRAIN, RIFF in TEST, mixed case, one converted copy."""
    root = tmp_path / "TIMIT"
    clips = iter(speech_clips * 4)
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
    with pytest.raises(UserError, match=r"at least 3 speakers .* found 1; .*manifest.csv"):
        find_speech(tmp_path / "19")


@pytest.mark.parametrize("audio", ["wav48", "wav48_silence_trimmed", "VCTK-Corpus/wav48"])
def test_vctk_speakers_are_the_folders_below_the_audio_root(tmp_path: Path, speech_clips: Clips, audio: str) -> None:
    for speaker in ("p225", "p226", "s5"):
        write_clip(tmp_path / audio / speaker / f"{speaker}_001_mic1.flac", speech_clips[0])
    assert {file.speaker for file in find_speech(tmp_path)} == {"p225", "p226", "s5"}


def test_recordings_in_a_folder_of_the_speakers_folder_belong_to_the_speaker(
    tmp_path: Path, speech_clips: Clips
) -> None:
    for speaker in ("anna", "ben", "chen"):
        write_clip(tmp_path / speaker / "wav" / "a1.wav", speech_clips[0])
        write_clip(tmp_path / speaker / "session two" / "a1.OGG", speech_clips[1])
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


def test_the_table_of_splits_counts_speakers_and_files(speech_folder: Path) -> None:
    assert split_summary(find_speech(speech_folder)) == [
        {"split": "train", "speakers": 2, "files": 8},
        {"split": "val", "speakers": 1, "files": 2},
        {"split": "test", "speakers": 1, "files": 2},
    ]


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


# Packing


@pytest.fixture
def corpus(speech_folder: Path, tmp_path: Path) -> PackedCorpus:
    return PackedCorpus.pack(find_speech(speech_folder), tmp_path / "cache")


@pytest.mark.parametrize("gain_mode", ["group", "utterance"])
@pytest.mark.parametrize(("pre_emphasis", "high_passed"), [(False, False), (True, False), (False, True), (True, True)])
def test_packed_contexts_equal_whole_file_processing(
    speech_folder: Path, tmp_path: Path, gain_mode: str, pre_emphasis: bool, high_passed: bool
) -> None:
    corpus = PackedCorpus.pack(find_speech(speech_folder), tmp_path, gain_mode)
    for split in SPLITS:
        numbers = corpus.frame_indices(split)
        assert len(numbers) == corpus.num_frames(split)
        expected = []
        for file in corpus.files(split):
            speech = load_speech(file.path)
            indices = group_levels(speech, gain_mode)
            speech = high_pass(speech) if high_passed else speech
            speech = pre_emphasise(speech) if pre_emphasis else speech
            frames = cut_frames(speech, context=256)
            expected.append(frames / frame_gains(indices, len(frames))[:, None])
        contexts = corpus.contexts(numbers, pre_emphasis=pre_emphasis, high_pass=high_passed)
        assert contexts.dtype == np.float32
        np.testing.assert_allclose(contexts, np.concatenate(expected), rtol=1e-6, atol=1e-6)


def test_contexts_come_in_the_order_asked_for(corpus: PackedCorpus) -> None:
    numbers = corpus.frame_indices("train")
    shuffle = np.random.default_rng(3).permutation(len(numbers))
    contexts = corpus.contexts(numbers, pre_emphasis=True, high_pass=False)
    shuffled = corpus.contexts(numbers[shuffle], pre_emphasis=True, high_pass=False)
    assert np.array_equal(shuffled, contexts[shuffle])


def test_duration_and_frames_are_those_of_the_files(corpus: PackedCorpus, speech_folder: Path) -> None:
    lengths = [soundfile.info(file.path).frames for file in corpus.files("val")]
    assert corpus.seconds("val") == pytest.approx(sum(lengths) / 16_000)
    assert corpus.num_frames("val") == sum(-(-(length + 32) // 480) for length in lengths)


def test_packing_is_done_once_for_the_same_files_and_gain(
    speech_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_speech(speech_folder)
    first = PackedCorpus.pack(files, tmp_path)
    monkeypatch.setattr(decode, "load_speech", lambda path: pytest.fail(f"{path} was decoded again"))
    again = PackedCorpus.pack(files, tmp_path)
    assert again.files("train") == first.files("train") and len(list(tmp_path.iterdir())) == 1


def test_changed_files_and_another_gain_are_packed_anew(tmp_path: Path, speech_clips: Clips) -> None:
    files = find_speech(plain_corpus(tmp_path / "speech", speech_clips, 3))
    cache = tmp_path / "cache"
    before = PackedCorpus.pack(files, cache).seconds("train")
    PackedCorpus.pack(files, cache, "utterance")
    for file in files:
        write_clip(file.path, np.concatenate(speech_clips[:2]))
    assert PackedCorpus.pack(files, cache).seconds("train") > before
    assert len(list(cache.iterdir())) == 3


def test_packing_that_is_cut_off_leaves_nothing_behind(
    speech_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stop)
    with pytest.raises(KeyboardInterrupt):
        PackedCorpus.pack(find_speech(speech_folder), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_another_process_packed_meanwhile_is_used(speech_folder: Path, tmp_path: Path) -> None:
    files = find_speech(speech_folder)
    seconds = PackedCorpus.pack(files, tmp_path).seconds("train")
    (folder,) = tmp_path.iterdir()
    pack_into(folder, files, "group")
    assert list(tmp_path.iterdir()) == [folder] and PackedCorpus(folder).seconds("train") == seconds


def test_a_damaged_packed_file_is_told(speech_folder: Path, tmp_path: Path) -> None:
    PackedCorpus.pack(find_speech(speech_folder), tmp_path)
    (samples,) = tmp_path.glob("*/samples.int16")
    samples.write_bytes(samples.read_bytes()[:-2])
    with pytest.raises(UserError, match="found a damaged file; delete this folder"):
        PackedCorpus.pack(find_speech(speech_folder), tmp_path)


def test_unusable_files_are_left_out_and_named_with_their_reason(
    tmp_path: Path, speech_clips: Clips, write_sphere: Callable[..., None]
) -> None:
    folder = plain_corpus(tmp_path / "speech", speech_clips, 3)
    faulty = folder / "speaker0"
    write_clip(faulty / "short.wav", speech_clips[0][:7_999])
    write_clip(faulty / "zeros.wav", np.zeros(20_000, np.int16))
    write_clip(faulty / "faint.wav", (speech_clips[0] // 8_000).astype(np.int16))
    write_clip(faulty / "offset.wav", np.full(20_000, 9_000, np.int16))
    (faulty / "broken.wav").write_bytes(b"RIFF and no more")
    write_sphere(faulty / "packed.wav", speech_clips[0], "pcm,embedded-shorten-v2.00")
    soundfile.write(faulty / "nan.wav", np.full(20_000, np.nan), 16_000, subtype="FLOAT")
    files = find_speech(folder)
    files.append(SpeechFile(faulty / "gone.wav", "speaker0", files[0].split))
    reasons = {
        "short": "too short, 0.50 s",
        "zeros": "silent",
        "faint": "silent",
        "offset": "silent",
        "broken": "cannot be read",
        "packed": "shorten",
        "nan": "NaN",
        "gone": "found none",
    }
    for corpus in (
        PackedCorpus.pack(files, tmp_path / "cache"),
        PackedCorpus.pack(files, tmp_path / "cache"),
    ):
        kept = [file.path.name for split in SPLITS for file in corpus.files(split)]
        told = {name: [line for line in corpus.left_out if str(faulty / f"{name}.wav") in line] for name in reasons}
        assert all(len(lines) == 1 and reasons[name] in lines[0] for name, lines in told.items()), told
        assert kept == ["first.wav"] * 3 and len(corpus.left_out) == len(reasons)


def test_no_usable_file_at_all_is_an_error(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "anna" / "zeros.wav", np.zeros(20_000, np.int16))
    with pytest.raises(UserError, match=r"none usable in 1 files, first: .*zeros\.wav: silent"):
        PackedCorpus.pack([SpeechFile(path, "anna", "train")], tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_stereo_and_other_rates_are_packed_at_16_khz(tmp_path: Path, speech_clips: Clips) -> None:
    clip = speech_clips[0]
    paths = [
        write_clip(tmp_path / "stereo.wav", np.stack([clip, clip], axis=1)),
        write_clip(tmp_path / "narrow.wav", clip[::2], 8_000),
        write_clip(tmp_path / "music.flac", clip, 44_100),
    ]
    corpus = PackedCorpus.pack([SpeechFile(path, path.stem, "train") for path in paths], tmp_path / "cache")
    expected = [len(clip), 2 * len(clip[::2]), round(len(clip) * 16_000 / 44_100)]
    assert corpus.left_out == [] and corpus.seconds("train") == pytest.approx(sum(expected) / 16_000)


# Batches

PLAIN = {"pre_emphasis": True, "high_pass": False}


def batches(corpus: PackedCorpus, **changes: object) -> NDArray[np.float32]:
    options: dict = {
        "batch_size": 16,
        "seed": 3,
        "epoch": 2,
        "first_step": 0,
        "num_steps": 20,
        **PLAIN,
        **changes,
    }
    return np.stack(list(training_batches(corpus, **options).as_numpy_iterator()))


def test_an_epoch_gives_each_audible_training_frame_once(corpus: PackedCorpus) -> None:
    num_steps = steps_in_epoch(corpus, 16)
    numbers = corpus.frame_indices("train", audible_only=True)
    assert num_steps == len(numbers) // 16
    given = batches(corpus, num_steps=num_steps).reshape(-1, 1024)
    known = {row.tobytes() for row in corpus.contexts(numbers, **PLAIN)}
    assert given.dtype == np.float32 and len({row.tobytes() for row in given}) == len(given) == 16 * num_steps
    assert {row.tobytes() for row in given} <= known


def test_batches_after_resuming_equal_those_of_an_unbroken_epoch(corpus: PackedCorpus) -> None:
    whole = batches(corpus, gain_augmentation_db=3.0)
    resumed = batches(corpus, gain_augmentation_db=3.0, first_step=7)
    assert len(whole) == 20 and np.array_equal(resumed, whole[7:])


def test_order_and_gains_change_with_seed_and_epoch_only(corpus: PackedCorpus) -> None:
    whole = batches(corpus, gain_augmentation_db=3.0)
    assert np.array_equal(batches(corpus, gain_augmentation_db=3.0), whole)
    assert not np.array_equal(batches(corpus, gain_augmentation_db=3.0, epoch=3), whole)
    assert not np.array_equal(batches(corpus, gain_augmentation_db=3.0, seed=4), whole)


def test_the_order_is_the_documented_permutation(corpus: PackedCorpus) -> None:
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, 2])))
    order = generator.permutation(corpus.frame_indices("train", audible_only=True))
    expected = corpus.contexts(order[5 * 16 : 6 * 16], **PLAIN)
    assert np.array_equal(batches(corpus, first_step=5, num_steps=6)[0], expected)


def test_runs_of_consecutive_frames_follow_each_other_in_one_file_at_one_level(corpus: PackedCorpus) -> None:
    given = batches(corpus, consecutive=4, gain_augmentation_db=3.0).reshape(-1, 4, 1024)
    earlier, later = given[:, :3, HOP:], given[:, 1:, :-HOP]  # what two neighbours share
    np.testing.assert_allclose(earlier, later, rtol=1e-5, atol=1e-6)
    assert len({run.tobytes() for run in given}) == len(given)


def test_gain_augmentation_scales_whole_frames_within_its_range(corpus: PackedCorpus) -> None:
    plain, scaled = batches(corpus), batches(corpus, gain_augmentation_db=3.0)
    peaks = np.abs(plain).argmax(axis=2)[..., None]
    factors = np.take_along_axis(scaled, peaks, 2) / np.take_along_axis(plain, peaks, 2)
    np.testing.assert_allclose(scaled, plain * factors, rtol=1e-5, atol=1e-7)
    decibels = 20 * np.log10(factors)
    assert np.abs(decibels).max() <= 3.0001 and decibels.min() < -2.5 and decibels.max() > 2.5
    assert len(np.unique(decibels.round(4))) > 0.9 * decibels.size


def test_fewer_frames_than_a_batch_are_repeated(corpus: PackedCorpus) -> None:
    available = len(corpus.frame_indices("train", audible_only=True))
    batch_size = 2 * available + 5
    assert steps_in_epoch(corpus, batch_size) == 1
    (batch,) = batches(corpus, batch_size=batch_size, num_steps=1)
    assert np.array_equal(batch[available : 2 * available], batch[:available])
    assert np.array_equal(batch[2 * available :], batch[:5])


def test_digital_silence_is_not_trained_on(tmp_path: Path, speech_clips: Clips) -> None:
    silence = np.zeros(7680 * 20, np.int16)  # the gain needs 15 groups to fall to the floor
    path = write_clip(tmp_path / "pause.wav", np.concatenate([speech_clips[0], silence]))
    corpus = PackedCorpus.pack([SpeechFile(path, "anna", "train")], tmp_path / "cache")
    audible = corpus.frame_indices("train", audible_only=True)
    assert 0 < len(audible) < corpus.num_frames("train")
    assert corpus.frame_gain_indices(audible).all()
    expected = corpus.contexts(audible, **PLAIN)
    (given,) = batches(corpus, batch_size=len(audible), num_steps=1)
    assert sorted(row.tobytes() for row in given) == sorted(row.tobytes() for row in expected)


def test_an_order_is_forgotten_after_its_epoch(corpus: PackedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[weakref.ref] = []
    make = PackedCorpus.order

    def order(*arguments: Any) -> Order:
        made = make(*arguments)
        orders.append(weakref.ref(made))
        return made

    monkeypatch.setattr(PackedCorpus, "order", order)
    for epoch in range(3):
        batches(corpus, epoch=epoch)
    gc.collect()
    assert [each() for each in orders] == [None] * 3


def test_a_corpus_without_training_speech_is_an_error(tmp_path: Path, speech_clips: Clips) -> None:
    path = write_clip(tmp_path / "speech.wav", speech_clips[0])
    corpus = PackedCorpus.pack([SpeechFile(path, "anna", "test")], tmp_path / "cache")
    with pytest.raises(UserError, match="found no audible frame in split train"):
        batches(corpus)


# The research corpus

MEMORY_SCRIPT = """
import sys
from corpus.batches import training_batches
from corpus.find import find_speech
from corpus.packed import PackedCorpus
from corpus.speech_file import SPLITS

def anonymous_megabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

def batches(steps):
    options = dict(batch_size=128, seed=0, epoch=0, first_step=0, pre_emphasis=True, high_pass=False)
    for batch in training_batches(corpus, num_steps=steps, **options):
        pass

tiny = PackedCorpus.pack(find_speech(sys.argv[1]), sys.argv[3])
corpus = tiny
batches(3)
before = anonymous_megabytes()
corpus = PackedCorpus.pack(find_speech(sys.argv[2]), sys.argv[3])
batches(200)
print(sum(map(corpus.seconds, SPLITS)) / 60, anonymous_megabytes() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from Linux's /proc")
def test_three_hours_of_speech_cost_far_less_than_300_megabytes(
    speech_folder: Path, research_corpus: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", MEMORY_SCRIPT, str(speech_folder), str(research_corpus), str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    minutes, megabytes = map(float, run.stdout.split())
    assert minutes > 180 and megabytes < 100


def test_the_research_corpus_is_found_whole_and_disjoint(research_corpus: Path) -> None:
    files = find_speech(research_corpus)
    assert [row["speakers"] for row in split_summary(files)] == [370, 25, 55] and speakers_are_disjoint(files)
