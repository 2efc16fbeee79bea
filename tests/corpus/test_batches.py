import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from constants import HOP
from corpus.batches import steps_in_epoch
from corpus.interface import Order
from corpus.packed import PackedCorpus
from corpus.speech_file import SpeechFile
from nsc.errors import UserError
from tests.corpus.drawn_batches import drawn
from tests.helpers.corpora import Clips, write_clip
from tests.helpers.places import ROOT

PLAIN = {"pre_emphasis": True, "high_pass": False}


def batches(corpus: PackedCorpus, **changes: object) -> NDArray[np.float32]:
    return drawn(corpus, {"batch_size": 16, "num_steps": 20} | changes)


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


# The memory of the research corpus

MEMORY_SCRIPT = """
import sys
from corpus.batches import training_batches
from corpus.find import find_speech
from corpus.packed import PackedCorpus
from corpus.speech_file import SPLITS
from kinds.kind import BatchForm

def anonymous_megabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

def batches(steps):
    for batch in training_batches(corpus, BatchForm(128, True, False), (0, 0), range(steps)):
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
