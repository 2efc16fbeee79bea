from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus import decode
from corpus.find import find_speech
from corpus.packed import PackedCorpus
from corpus.packing import pack_into
from corpus.speech_file import SPLITS, SpeechFile
from nsc.errors import UserError
from tests.helpers.corpora import Clips, plain_corpus, write_clip
from utilities import cut_frames, frame_gains, group_levels, high_pass, load_speech, pre_emphasise


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
