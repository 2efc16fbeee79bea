import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy import signal as scipy_signal

from nsc.errors import UserError
from utilities import (
    atomic_write,
    crossfade_window,
    cut_frames,
    de_emphasise,
    frame_gains,
    gains_of,
    group_levels,
    high_pass,
    load_speech,
    number_of_frames,
    overlap_add,
    pre_emphasise,
    save_speech,
)

Speech = NDArray[np.float32]


def sine(seconds: float, amplitude: float, hertz: float = 1000, rate: int = 16_000) -> Speech:
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


# Frames


def test_crossfade_windows_sum_to_exactly_one_on_the_seam() -> None:
    window = crossfade_window()
    assert window.dtype == np.float32 and window.shape == (512,)
    assert np.all(window[:32] + window[480:] == 1)
    assert np.all(window[32:480] == 1)


def test_crossfade_has_the_shape_of_a_hann_window() -> None:
    hann = scipy_signal.windows.hann(65, sym=True)  # its even-spaced midpoints, by the closed form
    midpoints = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(64) + 0.5) / 64)
    window = crossfade_window()
    np.testing.assert_allclose(window[:32], midpoints[:32], atol=1e-7)
    np.testing.assert_allclose(window[480:], midpoints[32:], atol=1e-7)
    assert np.all((window[:32] > hann[:32]) & (window[:32] < hann[1:33]))


@pytest.mark.parametrize(
    ("num_samples", "frames"),
    [(0, 1), (1, 1), (448, 1), (449, 2), (928, 2), (929, 3), (7648, 16), (7649, 17)],
)
def test_frames_are_as_many_as_it_takes_to_complete_the_last_seam(num_samples: int, frames: int) -> None:
    assert number_of_frames(num_samples) == frames


def test_no_sample_is_dropped_or_faded_at_any_length() -> None:
    window = crossfade_window()
    for num_samples in range(1, 2001):
        total = overlap_add(np.tile(window, (number_of_frames(num_samples), 1)), num_samples)
        assert total.shape == (num_samples,) and np.all(total == 1), num_samples


def test_windowed_frames_add_up_to_the_speech(real_speech: Speech) -> None:
    for num_samples in [*range(1, 2001, 37), len(real_speech)]:
        speech = real_speech[-num_samples:]
        np.testing.assert_allclose(overlap_add(cut_frames(speech) * crossfade_window(), num_samples), speech, atol=1e-7)


@pytest.mark.parametrize("context", [0, 256])
def test_frames_hold_the_samples_of_the_signal_around_them(real_speech: Speech, context: int) -> None:
    frames = cut_frames(real_speech, context)
    assert frames.dtype == np.float32 and frames.shape == (
        number_of_frames(len(real_speech)),
        512 + 2 * context,
    )
    for t, frame in enumerate(frames):
        first, last = 480 * t - 32 - context, 480 * t + 480 + context
        expected = [real_speech[i] if 0 <= i < len(real_speech) else 0 for i in range(first, last)]
        assert np.array_equal(frame, expected)


# Filters


def test_pre_emphasis_agrees_with_scipy_and_is_undone(real_speech: Speech) -> None:
    emphasised = pre_emphasise(real_speech)
    expected = scipy_signal.lfilter([1, -0.68], [1], real_speech.astype(np.float64))
    np.testing.assert_allclose(emphasised, expected, atol=1e-7)
    np.testing.assert_allclose(de_emphasise(emphasised), real_speech, atol=1e-6)
    double = real_speech.astype(np.float64)
    np.testing.assert_allclose(de_emphasise(pre_emphasise(double)), double, atol=1e-14)


def test_filters_treat_the_rows_of_a_batch_alike(real_speech: Speech) -> None:
    rows = real_speech[: 4 * 4000].reshape(4, 4000)
    for apply in (pre_emphasise, de_emphasise, high_pass):
        assert np.array_equal(apply(rows), np.stack([apply(row) for row in rows]))


def test_high_pass_halves_the_power_at_50_hz_and_spares_speech() -> None:
    impulse = np.zeros(65_536)
    impulse[0] = 1
    response = np.abs(np.fft.rfft(high_pass(impulse)))
    decibels = 20 * np.log10(response[1:])
    hertz = np.fft.rfftfreq(len(impulse), 1 / 16_000)[1:]
    assert np.interp(50, hertz, decibels) == pytest.approx(-3.01, abs=0.02)
    assert np.interp(12.5, hertz, decibels) == pytest.approx(-24.1, abs=0.2)  # second order: 12 dB an octave
    assert np.abs(decibels[hertz > 200]).max() < 0.02
    assert response[0] < 1e-6


# Gains


def test_gain_index_is_the_level_of_the_group_in_steps() -> None:
    for decibels in (-60.0, -33.3, -3.0):
        tone = sine(0.48 * 2, np.sqrt(2) * 10 ** (decibels / 20))
        indices = group_levels(tone)[:2]  # a third holds the last seam only
        assert indices.dtype == np.uint8
        assert np.all(np.abs(20 * np.log10(gains_of(indices)) - decibels) <= 0.76)  # half a step of 1.5 dB


def test_gain_falls_at_most_six_decibels_a_group_and_rises_at_once() -> None:
    loud, quiet = sine(0.48, 0.5), sine(0.48, 0.0005)
    indices = group_levels(np.concatenate([loud, quiet, quiet, quiet, loud])).astype(int)
    assert np.diff(indices).tolist() == [-4, -4, -4, 12, -4]  # the last seam is a group too


def test_gain_never_looks_ahead(real_speech: Speech) -> None:
    whole = group_levels(real_speech)
    assert len(set(whole.tolist())) > 1
    for groups in range(1, len(whole)):
        changed = real_speech.copy()
        changed[7680 * groups :] = 0
        assert np.array_equal(group_levels(changed)[:groups], whole[:groups])
        assert np.array_equal(group_levels(real_speech[: 7680 * groups])[:groups], whole[:groups])


def test_utterance_gain_is_the_standard_deviation_for_all_groups(real_speech: Speech) -> None:
    shifted = real_speech + 0.25
    indices = group_levels(shifted, "utterance")
    assert len(indices) == -(-number_of_frames(len(shifted)) // 16) and len(set(indices.tolist())) == 1
    assert indices[0] == round((20 * np.log10(np.std(real_speech)) + 90) / 1.5)


@pytest.mark.parametrize("mode", ["group", "utterance"])
@pytest.mark.parametrize("num_samples", [0, 1, 20_000])
def test_silence_has_gain_index_zero_without_warnings(mode: str, num_samples: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        indices = group_levels(np.zeros(num_samples, np.float32), mode)
    assert len(indices) == -(-number_of_frames(num_samples) // 16)
    assert not indices.any()


def test_group_without_samples_of_its_own_keeps_the_decaying_level() -> None:
    tone = sine(0.48, 0.5)  # its last seam needs a 17th frame, whose group starts beyond the end
    assert np.diff(group_levels(tone).astype(int)).tolist() == [-4]


def test_square_wave_at_full_scale_stays_inside_the_table() -> None:
    assert group_levels(np.ones(7648, np.float32)).tolist() == [60]
    assert group_levels(np.full(7648, 10, np.float32)).tolist() == [63]


def test_frames_take_the_gain_of_their_group() -> None:
    gains = frame_gains(np.array([60, 20], np.uint8), 20)
    assert gains.shape == (20,) and gains.dtype == np.float32
    np.testing.assert_allclose(gains, [1.0] * 16 + [10 ** (-60 / 20)] * 4, rtol=1e-6)


# Files


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_lossless_files_load_sample_for_sample(tmp_path: Path, real_speech: Speech, suffix: str) -> None:
    soundfile.write(tmp_path / f"speech.{suffix}", real_speech, 16_000, subtype="PCM_16")
    assert np.array_equal(load_speech(tmp_path / f"speech.{suffix}"), real_speech)


def test_ogg_files_load(tmp_path: Path, real_speech: Speech) -> None:
    soundfile.write(tmp_path / "speech.ogg", real_speech, 16_000)
    loaded = load_speech(tmp_path / "speech.ogg")
    assert len(loaded) == len(real_speech)
    assert np.corrcoef(loaded, real_speech)[0, 1] > 0.95


def test_nist_sphere_files_load_sample_for_sample(
    tmp_path: Path, real_speech: Speech, write_sphere: Callable[..., None]
) -> None:
    write_sphere(tmp_path / "SA1.WAV", (real_speech * 32_768).astype(np.int16))
    assert np.array_equal(load_speech(tmp_path / "SA1.WAV"), real_speech)


@pytest.mark.parametrize(("rate", "seconds"), [(8_000, 1.0), (44_100, 1.2345), (48_000, 0.7), (22_050, 1.1)])
def test_other_rates_are_resampled_to_the_exact_length(tmp_path: Path, rate: int, seconds: float) -> None:
    tone = sine(seconds, 0.5, 440, rate)
    soundfile.write(tmp_path / "tone.wav", tone, rate, subtype="FLOAT")
    loaded = load_speech(tmp_path / "tone.wav")
    assert loaded.dtype == np.float32 and len(loaded) == round(len(tone) * 16_000 / rate)
    inside = slice(1600, len(loaded) - 1600)
    np.testing.assert_allclose(loaded[inside], sine(seconds, 0.5, 440)[: len(loaded)][inside], atol=2e-3)


def test_stereo_is_averaged_at_44100_hz_with_exact_length(tmp_path: Path) -> None:
    left, right = sine(1.0, 0.6, 300, 44_100), sine(1.0, 0.2, 300, 44_100)
    stereo = np.stack([left, right], axis=1)[:44_001]
    soundfile.write(tmp_path / "stereo.flac", stereo, 44_100)
    loaded = load_speech(tmp_path / "stereo.flac")
    assert loaded.shape == (round(44_001 * 16_000 / 44_100),)
    np.testing.assert_allclose(loaded[800:-800], sine(1.0, 0.4, 300)[: len(loaded)][800:-800], atol=2e-3)


def test_samples_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", sine(0.5, 1.5), 16_000, subtype="FLOAT")
    loaded = load_speech(tmp_path / "loud.wav")
    assert loaded.max() == 1 and loaded.min() == -1


def broken_files(folder: Path, write_sphere: Callable[..., None]) -> dict[str, str]:
    """Writes files that cannot be used; maps each name to words that its error must hold."""
    poisoned = sine(0.1, 0.5)
    for name, value in (("nan.wav", np.nan), ("infinite.wav", np.inf)):
        poisoned[7] = value
        soundfile.write(folder / name, poisoned, 16_000, subtype="FLOAT")
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    (folder / "bytes.wav").write_bytes(b"")
    (folder / "text.flac").write_text("this is no audio")
    (folder / "folder.wav").mkdir()
    write_sphere(folder / "SX1.WAV", np.zeros(9, np.int16), "pcm,embedded-shorten-v2.00")
    return {
        "nan.wav": "NaN",
        "infinite.wav": "NaN or infinite",
        "empty.wav": "no samples",
        "bytes.wav": "cannot be read",
        "text.flac": "cannot be read",
        "folder.wav": "found a folder",
        "absent.wav": "found none",
        "SX1.WAV": "shorten",
    }


def test_unusable_files_are_named_in_one_line(tmp_path: Path, write_sphere: Callable[..., None]) -> None:
    for name, words in broken_files(tmp_path, write_sphere).items():
        with pytest.raises(UserError) as error:
            load_speech(tmp_path / name)
        message = str(error.value)
        assert str(tmp_path / name) in message and words in message and "\n" not in message, name


def test_saved_speech_is_16_bit_and_comes_back_sample_for_sample(tmp_path: Path, real_speech: Speech) -> None:
    save_speech(tmp_path / "new" / "folder" / "speech.wav", real_speech)
    path = tmp_path / "new" / "folder" / "speech.wav"
    assert np.array_equal(load_speech(path), real_speech)
    assert soundfile.info(path).subtype == "PCM_16" and soundfile.info(path).samplerate == 16_000
    assert [file.name for file in path.parent.iterdir()] == ["speech.wav"]


def test_saved_speech_is_clipped_instead_of_wrapped(tmp_path: Path) -> None:
    save_speech(tmp_path / "loud.wav", np.array([2.0, 1.0, -1.0, -2.0, 0.5]))
    samples, _ = soundfile.read(tmp_path / "loud.wav", dtype="int16")
    assert samples.tolist() == [32_767, 32_767, -32_768, -32_768, 16_384]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atomic_write(tmp_path / "state.json", "old é")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(tmp_path / "state.json", b"new")
    assert (tmp_path / "state.json").read_text(encoding="utf-8") == "old é"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
