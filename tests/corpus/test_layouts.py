"""Corpora as they are unpacked: every layout trains with splits by speaker, or one line says what is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from corpus.find import find_speech, find_test_speech
from corpus.packed import PackedCorpus
from nsc.errors import UserError
from tests.helpers.corpora import Clips, speakers_are_disjoint, splits_of, write_clip


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def people(*names: str) -> set[str]:
    return set(names)


# paths below the folder that is given, and who must be in train and val together, and in test
OWN_SPLITS = {
    "LibriSpeech": (
        [f"LibriSpeech/{part}/{reader}/7/{reader}-7-0000.flac" for part, reader in (
            ("train-clean-100", 19), ("train-other-500", 20), ("dev-clean", 84), ("test-other", 116))],
        people("19", "20", "84"), people("116"),
    ),
    "TIMIT": (
        [f"timit/{part}/dr1/{speaker}/sa1.wav" for part, speaker in (
            ("train", "fcjf0"), ("train", "mdac0"), ("test", "faks0"))],
        people("FCJF0", "MDAC0"), people("FAKS0"),
    ),
    "AISHELL": (
        [f"data_aishell/wav/{part}/{speaker}/BAC009{speaker}W0122.wav" for part, speaker in (
            ("train", "S0002"), ("train", "S0003"), ("dev", "S0724"), ("test", "S0764"))],
        people("S0002", "S0003", "S0724"), people("S0764"),
    ),
    "TED-LIUM": (
        [f"TEDLIUM_release2/{part}/sph/{name}.sph" for part, name in (
            ("train", "AaronHuey_2010X"), ("train", "AaronHuey_2013"), ("train", "911Mothers_2010W"),
            ("dev", "AlGore_2009"), ("test", "BillGates_2010"))],
        people("AaronHuey", "911Mothers", "AlGore"), people("BillGates"),
    ),
    "VoiceBank-DEMAND": (
        [f"{kind}_{part}_wav/{speaker}_001.wav" for kind in ("clean", "noisy") for part, speaker in (
            ("trainset_28spk", "p226"), ("trainset_28spk", "p227"), ("testset", "p232"))],
        people("p226", "p227"), people("p232"),
    ),
    "VoxCeleb": (
        [f"vox2/{part}/aac/{speaker}/21Uxsk56VDQ/00001.m4a" for part, speaker in (
            ("dev", "id00012"), ("dev", "id00015"), ("test", "id00017"))],
        people("id00012", "id00015"), people("id00017"),
    ),
    "MLS": (
        [f"{language}/{part}/audio/{speaker}/10/{speaker}_10_000000.flac" for language, part, speaker in (
            ("mls_german", "train", 1), ("mls_german", "dev", 2), ("mls_german", "test", 3),
            ("mls_polish", "train", 4), ("mls_polish", "dev", 5), ("mls_polish", "test", 6))],
        people("1", "2", "4", "5"), people("3", "6"),
    ),
}  # fmt: skip

# the same for corpora that have none, and all their speakers
BY_SPEAKER = {
    "VCTK": (
        [f"VCTK-Corpus-0.92/wav48_silence_trimmed/{who}/{who}_001_mic{mic}.flac"
         for who in ("p225", "p226", "s5") for mic in (1, 2)],
        people("p225", "p226", "s5"),
    ),
    "DAPS": (
        [f"daps/{room}/{who}_script1_{room}.wav"
         for room in ("clean", "ipad_bedroom1", "iphone_balcony1") for who in ("f1", "f2", "m10")],
        people("f1", "f2", "m10"),
    ),
    "CMU ARCTIC": (
        [f"cmu_us_{who}_arctic/wav/arctic_a0001.wav" for who in ("bdl", "slt", "clb")],
        people("cmu_us_bdl_arctic", "cmu_us_slt_arctic", "cmu_us_clb_arctic"),
    ),
    "M-AILABS": (
        [f"en_US/by_book/{sex}/{who}/emma/wavs/emma_01_f000001.wav" for sex, who in (
            ("female", "judy_bieber"), ("female", "mary_ann"), ("male", "elliot_miller"))],
        people("judy_bieber", "mary_ann", "elliot_miller"),
    ),
    "train and test of every speaker": (
        [f"{who}/{part}/{number}.wav" for who in ("anna", "ben", "cleo") for number, part in enumerate(
            ("train", "test"))],
        people("anna", "ben", "cleo"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN_SPLITS)
def test_a_corpus_keeps_the_splits_that_it_was_published_with(name: str, tmp_path: Path) -> None:
    paths, training, testing = OWN_SPLITS[name]
    files = find_speech(tree(tmp_path, *paths))
    splits = splits_of(files)
    assert len(files) == len(paths)
    assert splits["train"] | splits["val"] == training
    assert splits["test"] == testing
    assert splits["val"] and speakers_are_disjoint(files)
    assert {file.speaker for file in find_test_speech(tmp_path)} == testing


@pytest.mark.parametrize("name", BY_SPEAKER)
def test_a_corpus_without_splits_is_split_by_its_speakers(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nsc.console.log.propagate", True)
    paths, speakers = BY_SPEAKER[name]
    with caplog.at_level("INFO"):
        files = find_speech(tree(tmp_path, *paths))
    assert len(files) == len(paths)
    assert set().union(*splits_of(files).values()) == speakers
    assert speakers_are_disjoint(files)
    assert f"taken for its {len(speakers)} speakers: {', '.join(sorted(speakers))}" in caplog.text


@pytest.mark.parametrize("above", ["", "cv-corpus-17.0"])
def test_common_voice_has_its_speakers_and_splits_from_its_tables(tmp_path: Path, above: str) -> None:
    names = [f"common_voice_en_{number}.mp3" for number in range(6)]
    tree(tmp_path / above / "en" / "clips", *names)
    for number, table in enumerate(("train", "dev", "test")):
        rows = [f'client{number}\tcommon_voice_en_{number}.mp3\t"An unclosed mark', f"client{number}\tabsent.mp3\tx"]
        text = "\n".join(["client_id\tpath\tsentence", *rows])
        (tmp_path / above / "en" / f"{table}.tsv").write_text(text + "\n")
    files = find_speech(tmp_path)
    assert [(file.path.name, file.speaker, file.split) for file in files] == [
        (names[0], "client0", "train"),
        (names[1], "client1", "val"),
        (names[2], "client2", "test"),
    ]
    assert [file.speaker for file in find_test_speech(tmp_path)] == ["client2"]


def test_common_voice_without_its_tables_has_no_speakers(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{language}/clips/common_voice_{language}_1.mp3" for language in ("en", "de", "fr", "pl")))
    with pytest.raises(UserError, match=r"expected a folder per speaker, found common_voice_de_1.mp3 in none"):
        find_speech(tmp_path)


@pytest.mark.parametrize("folders", [("train-100", "dev", "test"), ("train-100",)])
def test_mixtures_are_no_speakers(tmp_path: Path, folders: tuple[str, ...]) -> None:
    name = "103-1240-0003_1235-135887-0017.wav"
    kinds = ("mix_clean", "mix_both", "s1", "s2", "noise")
    tree(tmp_path, *(f"Libri2Mix/wav16k/min/{part}/{kind}/{name}" for part in folders for kind in kinds))
    with pytest.raises(UserError, match="expected one speaker in a recording, found mixtures such as 103-1240"):
        find_speech(tmp_path)


def noisy(clip: NDArray[np.int16], seed: int) -> NDArray[np.int16]:
    """With as much noise as speech."""
    noise = np.random.default_rng(seed).normal(size=len(clip)) * clip.std()
    return np.clip(clip + noise, -32768, 32767).astype(np.int16)


def in_a_room(clip: NDArray[np.int16], seed: int) -> NDArray[np.int16]:
    """Far from the microphone, with 0.5 s of reverberation."""
    random = np.random.default_rng(seed)
    response = random.normal(size=8000) * 10 ** (-3 * np.arange(8000) / 8000)
    response[0] = 5
    size = len(clip) + len(response)
    reverberant = np.fft.irfft(np.fft.rfft(clip / 32768, size) * np.fft.rfft(response, size), size)[: len(clip)]
    return (reverberant * 20000 / np.abs(reverberant).max()).astype(np.int16)


@pytest.mark.parametrize("change", [noisy, in_a_room])
@pytest.mark.parametrize("pattern", ["{room}/{number}.wav", "{room}/take{number}_{room}.flac"])
def test_rooms_are_not_taken_for_speakers(pattern: str, change: object, tmp_path: Path, speech_clips: Clips) -> None:
    assert callable(change)
    for place, room in enumerate(("clean", "kitchen", "office", "car")):
        for number, clip in enumerate(speech_clips[:4]):
            write_clip(tmp_path / pattern.format(room=room, number=number), change(clip, place) if place else clip)
    with pytest.raises(UserError, match=r"found copies of one in .* seem to be no speakers"):
        find_speech(tmp_path)


def test_people_who_read_the_same_sentences_are_speakers(tmp_path: Path, speech_clips: Clips) -> None:
    clips = iter(speech_clips)
    for speaker in ("bdl", "slt", "clb"):
        for number in range(4):  # of the same length, too, as a corpus cut to a second each
            write_clip(tmp_path / f"cmu_us_{speaker}_arctic" / "wav" / f"arctic_a{number:04}.wav", next(clips)[:16_000])
    assert len(splits_of(find_speech(tmp_path))["train"]) == 1


def test_one_folder_that_holds_all_speakers_is_named(tmp_path: Path) -> None:
    tree(tmp_path, *(f"ARCTIC/cmu_us_{who}_arctic/wav/a.wav" for who in ("bdl", "slt", "clb")))
    with pytest.raises(UserError, match=r"found 1 \(ARCTIC\); give --data_dir the folder above the speakers"):
        find_speech(tmp_path)


def test_a_named_pipe_called_wav_is_left_out_by_name(tmp_path: Path, speech_clips: Clips) -> None:
    for number, speaker in enumerate(("anna", "ben", "cleo")):
        write_clip(tmp_path / "corpus" / speaker / "1.wav", speech_clips[number])
        os.mkfifo(tmp_path / "corpus" / speaker / "2.wav")
        (tmp_path / "corpus" / speaker / "3.wav").symlink_to("/dev/zero")
    corpus = PackedCorpus.pack(find_speech(tmp_path / "corpus"), tmp_path / "cache")
    assert sorted(line.partition(": ")[0].partition("/corpus/")[2] for line in corpus.left_out) == sorted(
        f"{speaker}/{number}.wav" for speaker in ("anna", "ben", "cleo") for number in (2, 3)
    )
    assert all("expected an audio file, found a pipe or a device" in line for line in corpus.left_out)
