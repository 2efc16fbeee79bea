"""TIMIT in every spelling that people have it in: found, split by speaker, trained on and evaluated."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from corpus.find import find_speech
from corpus.packed import PackedCorpus
from corpus.speech_file import SPLITS
from tests.helpers.corpora import Clips, splits_of, varied, write_clip
from tests.helpers.tiny import Workplace

Write = Callable[[Path, NDArray[np.int16]], None]
TRAINING, TESTING = ("fcjf0", "mdac0", "mgag0", "fcau0"), ("faks0", "mabw0")
SENTENCES = ("sa1", "sa2", "si648", "sx37")
SPHERE_AND_COPY = "SPHERE and its converted copy"

# The folders of training and test speakers, how an utterance's file is called, and what it holds.
SPELLINGS = {
    "as LDC sent it": ("TIMIT/TRAIN/DR{}/{}", "TIMIT/TEST/DR{}/{}", "{}.WAV", "SPHERE"),
    "in lower case": ("timit/train/dr{}/{}", "timit/test/dr{}/{}", "{}.wav", "SPHERE"),
    "converted in place": ("TIMIT/TRAIN/DR{}/{}", "TIMIT/TEST/DR{}/{}", "{}.WAV", "RIFF"),
    "converted beside": ("data/TRAIN/DR{}/{}", "data/TEST/DR{}/{}", "{}.WAV", SPHERE_AND_COPY),
    "converted twice": ("timit/train/dr{}/{}", "timit/test/dr{}/{}", "{}.wav.wav", "RIFF"),
    "in mixed case": ("Timit/Train/Dr{}/{}", "Timit/Test/dR{}/{}", "{}.Wav", "RIFF"),
}


@pytest.fixture
def clips(speech_clips: Clips) -> Iterator[NDArray[np.int16]]:
    return varied(speech_clips)


def write_tree(root: Path, spelling: str, clips: Iterator[NDArray[np.int16]], write_sphere: Write) -> Path:
    """Two dialect regions of six speakers who read four sentences each, in one of the spellings."""
    train, test, name, content = SPELLINGS[spelling]
    upper = "DR" in train
    for folder, speakers in ((train, TRAINING), (test, TESTING)):
        for number, speaker in enumerate(speakers):
            for sentence in SENTENCES:
                words = [word.upper() if upper else word for word in (speaker, sentence)]
                path = root / folder.format(1 + number % 2, words[0]) / name.format(words[1])
                clip = next(clips)
                if content != "RIFF":
                    write_sphere(path, clip)
                if content == "RIFF":
                    write_clip(path, clip)
                if content == SPHERE_AND_COPY:
                    write_clip(path.with_name(path.name + ".wav"), clip)
    return root


def write_sample_of_nltk(root: Path, clips: Iterator[NDArray[np.int16]]) -> Path:
    """The flat sample: a folder for region and speaker, no splits, phones and words beside the recordings."""
    for region, sex in itertools.product((1, 2, 3), "fm"):
        folder = root / "timit" / f"dr{region}-{sex}{'vck'[region - 1]}mh0"
        for sentence in SENTENCES:
            write_clip(folder / f"{sentence}.wav", next(clips))
            (folder / f"{sentence}.phn").write_text("0 100 h#\n")
    (root / "timit" / "timitdic.txt").write_text("; a dictionary\n")
    return root


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_tree_in_any_spelling_keeps_its_test_speakers_and_every_sentence_once(
    spelling: str, tmp_path: Path, clips: Iterator[NDArray[np.int16]], write_sphere: Write
) -> None:
    files = find_speech(write_tree(tmp_path / "tree", spelling, clips, write_sphere))
    splits = splits_of(files)
    assert splits["train"] | splits["val"] == {speaker.upper() for speaker in TRAINING}
    assert splits["test"] == {speaker.upper() for speaker in TESTING}
    corpus = PackedCorpus.pack(files, tmp_path / "cache")
    assert corpus.left_out == []
    assert sum(len(corpus.files(split)) for split in SPLITS) == len(files) == 6 * len(SENTENCES)
    without = find_speech(tmp_path / "tree", sa_sentences=False)
    assert {file.path for file in files} - {file.path for file in without} == {
        file.path for file in files if file.path.name.lower().startswith("sa")
    }


def test_nltk_s_flat_sample_is_split_by_its_speakers(tmp_path: Path, clips: Iterator[NDArray[np.int16]]) -> None:
    files = find_speech(write_sample_of_nltk(tmp_path, clips))
    assert len(files) == 6 * len(SENTENCES)
    splits = splits_of(files)
    assert {"dr1-fvmh0", "dr3-mkmh0"} <= set().union(*splits.values())
    assert all(splits[split] for split in SPLITS)
    assert len(find_speech(tmp_path, sa_sentences=False)) == 6 * (len(SENTENCES) - 2)


@pytest.mark.parametrize("spelling", ["as LDC sent it", "converted beside", "nltk's flat sample"])
def test_a_tree_trains_and_is_evaluated_on_its_test_speakers(
    spelling: str,
    tmp_path: Path,
    clips: Iterator[NDArray[np.int16]],
    write_sphere: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "speech"
    if spelling in SPELLINGS:
        write_tree(folder, spelling, clips, write_sphere)
    else:
        write_sample_of_nltk(folder, clips)
    place = Workplace(tmp_path / "place")
    options = {"data_dir": str(folder), "time_domain": True, "num_modules": 1, "steps_per_epoch": 1}
    assert place.run(training_mode=1, **options) == 0
    assert place.run(training_mode=0, max_files=1, data_dir=str(folder)) == 0
    assert "PESQ-WB" in capsys.readouterr().out
    tested = {file.speaker.upper() for file in find_speech(folder) if file.split == "test"}
    decoded = [path.relative_to(place.output).as_posix().upper() for path in place.output.rglob("*.nsc")]
    assert decoded and all(any(speaker in path for speaker in tested) for path in decoded)
