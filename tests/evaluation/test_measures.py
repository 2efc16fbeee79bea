"""Objective measures against closed forms, their libraries' traps and each other."""

import math
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import soundfile
from numpy.typing import NDArray

from measures import measures, perception
from measures.intervals import mean_with_interval
from measures.measures import (
    Score,
    log_spectral_distance,
    pesq_wb,
    score,
    score_files,
    si_sdr,
    snr,
    stoi,
    visqol,
)
from tests.helpers.places import ROOT

Signal = NDArray[np.float64]


@pytest.fixture
def speech(real_speech: NDArray[np.float32]) -> Signal:
    return real_speech.astype(np.float64)


def noise_like(signal: Signal, *, decibels_below: float, seed: int = 0) -> Signal:
    noise = np.random.default_rng(seed).standard_normal(signal.size)
    return noise * np.linalg.norm(signal) / np.linalg.norm(noise) * 10 ** (-decibels_below / 20)


@pytest.mark.parametrize("decibels", [-5.0, 0.0, 12.5, 60.0])
def test_snr_is_the_level_of_the_noise_that_was_added(speech: Signal, decibels: float) -> None:
    assert snr(speech, speech + noise_like(speech, decibels_below=decibels)) == pytest.approx(decibels, abs=1e-9)


def test_snr_of_half_the_signal_is_six_decibels(speech: Signal) -> None:
    assert snr(speech, speech / 2) == pytest.approx(20 * math.log10(2))


def test_snr_of_equal_signals_is_infinite_and_of_a_silent_one_zero(speech: Signal) -> None:
    assert snr(speech, speech) == math.inf
    assert snr(speech, 0 * speech) == 0


def test_si_sdr_of_orthogonal_noise_is_its_level(speech: Signal) -> None:
    centred = speech - speech.mean()
    noise = noise_like(speech, decibels_below=0)
    noise -= noise.mean()
    noise -= centred * (noise @ centred) / (centred @ centred)
    noise *= np.linalg.norm(centred) / np.linalg.norm(noise) * 10 ** (-15 / 20)
    assert si_sdr(speech, speech + noise) == pytest.approx(15, abs=1e-9)


@pytest.mark.parametrize(("scale", "offset"), [(0.01, 0.0), (-3.0, 0.0), (1.0, 0.2), (7.0, -1.0)])
def test_si_sdr_ignores_scale_and_offset_where_snr_does_not(speech: Signal, scale: float, offset: float) -> None:
    decoded = speech + noise_like(speech, decibels_below=10)
    assert si_sdr(speech, scale * decoded + offset) == pytest.approx(si_sdr(speech, decoded), abs=1e-6)
    assert abs(snr(speech, scale * decoded + offset) - snr(speech, decoded)) > 1


def test_si_sdr_tells_what_the_correlation_tells(speech: Signal) -> None:
    decoded = 0.5 * (speech + noise_like(speech, decibels_below=10)) + 0.01
    correlation = np.corrcoef(speech, decoded)[0, 1]
    assert si_sdr(speech, decoded) == pytest.approx(10 * np.log10(correlation**2 / (1 - correlation**2)), abs=1e-3)


def test_pesq_and_stoi_of_the_same_speech_are_at_their_top(speech: Signal) -> None:
    assert pesq_wb(speech, speech) > 4.6
    assert stoi(speech, speech) == pytest.approx(1, abs=1e-6)


def test_every_measure_falls_as_noise_rises(speech: Signal) -> None:
    scores = [score(speech, speech + noise_like(speech, decibels_below=level)) for level in (50, 30, 10)]
    for name in measures.MEASURES:
        values = [each.values[name] for each in scores]
        assert values == sorted(values, reverse=True), name
        assert len(set(values)) == 3, name


@pytest.mark.parametrize("decibels", [-12.0, 3.0, 20.0])
def test_the_log_spectral_distance_of_a_louder_signal_is_its_level(decibels: float) -> None:
    noise = np.random.default_rng(1).standard_normal(48_000)  # all of it far above the floor
    assert log_spectral_distance(noise, 10 ** (decibels / 20) * noise) == pytest.approx(abs(decibels), abs=0.01)


def test_the_log_spectral_distance_grows_with_noise_and_digital_silence_does_not_decide_it(speech: Signal) -> None:
    values = [log_spectral_distance(speech, speech + noise_like(speech, decibels_below=each)) for each in (60, 30, 10)]
    assert values == sorted(values)
    assert log_spectral_distance(speech, speech) == 0
    gap = np.concatenate([speech, np.zeros(speech.size)])
    assert log_spectral_distance(gap, gap + 1e-7) < 0.1


@pytest.mark.slow
def test_visqol_falls_as_noise_rises_and_names_what_it_cannot_measure(speech: Signal) -> None:
    pytest.importorskip("visqol", reason="ViSQOL is an optional extra")
    best, middle, worst = (visqol(speech, speech + noise_like(speech, decibels_below=each)) for each in (80, 40, 20))
    assert 4 < best < 5
    assert best > middle > worst > 1
    assert visqol(speech, 0 * speech).reason == "the decoded signal is silent"
    assert visqol(speech[:4000], speech[:4000]).reason == "ViSQOL needs half a second"


def test_without_visqol_its_value_is_missing_with_the_command_that_installs_it(
    speech: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "visqol", None)
    values, failures = score(speech, speech, ["snr", "visqol"])
    assert math.isnan(values["visqol"])
    assert "pip install" in failures["visqol"]
    assert list(values) == ["snr", "visqol"]


def test_a_fault_in_a_measure_s_library_becomes_a_reason(speech: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> float:
        raise ZeroDivisionError("of a kind\nthat nobody knew")

    monkeypatch.setattr(perception.pystoi, "stoi", fail)
    values, failures = score(speech, speech + noise_like(speech, decibels_below=20))
    assert failures == {"stoi": "stoi failed: ZeroDivisionError: of a kind that nobody knew"}
    assert np.isfinite(values["pesq_wb"])


def test_a_score_of_speech_has_four_finite_values_and_no_failure(speech: Signal) -> None:
    values, failures = score(speech, speech + noise_like(speech, decibels_below=20))
    assert list(values) == ["pesq_wb", "stoi", "snr", "si_sdr"]
    assert np.all(np.isfinite(list(values.values())))
    assert failures == {}


def test_a_silent_reference_fails_every_measure_with_a_reason(speech: Signal) -> None:
    values, failures = score(0 * speech, speech)
    assert np.all(np.isnan(list(values.values())))
    assert failures == dict.fromkeys(measures.MEASURES, "the reference is silent")


def test_silent_decoded_speech_fails_what_is_undefined_for_it(speech: Signal) -> None:
    values, failures = score(speech, 0 * speech)
    assert failures == dict.fromkeys(("pesq_wb", "si_sdr"), "the decoded signal is silent")
    assert math.isnan(values["pesq_wb"]) and math.isnan(values["si_sdr"])
    assert values["snr"] == 0
    assert values["stoi"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("length", [1, 100, 3999])
def test_speech_too_short_for_pesq_and_stoi_still_has_an_snr(speech: Signal, length: int) -> None:
    start = int(np.argmax(np.abs(speech[: -length or None])))
    short = np.append(speech[start : start + length], speech[start] / 2)[: max(length, 2)]
    values, failures = score(short, 0.9 * short)
    assert failures == {
        "pesq_wb": "PESQ needs at least 0.25 s",
        "stoi": "STOI needs 0.4 s of speech that is not silence",
    }
    assert values["snr"] == pytest.approx(20)


def test_speech_all_but_silent_fails_pesq_with_a_reason_for_either_signal(speech: Signal) -> None:
    for measured, reason in (
        (pesq_wb(1e-30 * speech, speech), "PESQ found no utterance"),
        (pesq_wb(speech, 1e-30 * speech), "the decoded signal is all but silent"),
    ):
        assert math.isnan(measured)
        assert measured.reason == reason


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda decoded: decoded[:-1], "equally long"),
        (lambda decoded: np.stack([decoded, decoded]), "equally long"),
        (lambda decoded: np.where(np.arange(decoded.size) == 5, np.nan, decoded), "not finite"),
        (lambda decoded: np.where(np.arange(decoded.size) == 5, np.inf, decoded), "not finite"),
    ],
)
def test_signals_that_cannot_be_compared_fail_every_measure(
    speech: Signal, spoil: Callable[[Signal], Signal], reason: str
) -> None:
    values, failures = score(speech, spoil(speech))
    assert np.all(np.isnan(list(values.values())))
    assert set(failures) == set(measures.MEASURES)
    assert all(reason in each for each in failures.values())


def test_empty_signals_fail_with_a_reason() -> None:
    assert snr(np.zeros(0), np.zeros(0)).reason == "the signals are empty"


def utterances(speech: Signal, count: int) -> Signal:
    loudest = int(np.argmax(np.convolve(speech**2, np.ones(4000), "valid")))
    utterance = np.append(speech[loudest : loudest + 4000], np.zeros(4000))
    return np.tile(utterance / np.max(np.abs(utterance)), count)


@pytest.mark.slow
def test_pesq_of_a_hundred_utterances_does_not_crash(speech: Signal, tmp_path: Path) -> None:
    # In a process of its own, since PESQ given these 50 seconds at once ends the process.
    np.save(tmp_path / "speech.npy", utterances(speech, 100))
    program = (
        "import sys, numpy; from measures import measures; s = numpy.load(sys.argv[1]); print(measures.pesq_wb(s, s))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "speech.npy")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert float(finished.stdout) > 4.6


def test_pesq_of_long_speech_is_the_mean_over_its_pieces_with_speech(
    speech: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, noisy = speech, speech + noise_like(speech, decibels_below=30)
    silence = np.zeros(speech.size)
    monkeypatch.setattr(perception, "PESQ_LONGEST", speech.size)
    long = pesq_wb(np.concatenate([clean, silence, clean]), np.concatenate([clean, silence, noisy]))
    assert long == pytest.approx((pesq_wb(clean, clean) + pesq_wb(clean, noisy)) / 2)
    assert pesq_wb(np.tile(clean, 2), np.append(clean, silence)).reason == "the decoded signal is silent"


@pytest.mark.slow
def test_a_pool_gives_the_same_scores_in_the_same_order_as_this_process_which_alone_hears_ctrl_c(
    speech: Signal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "reference.wav", speech, 16_000, subtype="DOUBLE")
    reference = tmp_path / "reference.wav"
    pairs: list[tuple[measures.Source, measures.Source]] = [
        (reference, speech + noise_like(speech, decibels_below=level)) for level in (10, 40, 20)
    ]
    held = list[bool]()

    def watched(scores: Iterable[Score], **options: Any) -> Iterable[Score]:
        for worker in multiprocessing.active_children():
            status = Path(f"/proc/{worker.pid}/status").read_text()
            held.append(bool(int(status.partition("SigBlk:")[2].split()[0], 16) >> signal.SIGINT - 1 & 1))
        return scores

    monkeypatch.setattr(measures, "tqdm", watched)
    pooled = score_files(pairs, processes=2)
    assert held == [True, True] and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert [each.values["snr"] for each in pooled] == pytest.approx([10, 40, 20], abs=1e-9)
    assert pooled == score_files(pairs, processes=1)


def test_files_that_cannot_be_read_have_reasons_and_do_not_stop_the_others(speech: Signal, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF, and then nothing of use")
    soundfile.write(tmp_path / "stereo.wav", np.stack([speech, speech], axis=1), 16_000)
    soundfile.write(tmp_path / "slow.wav", speech, 8_000)
    names = ["missing.wav", "broken.wav", "stereo.wav", "slow.wav"]
    *spoilt, last = score_files([(speech, tmp_path / name) for name in names] + [(speech, speech)], processes=1)
    for name, (values, failures) in zip(names, spoilt, strict=True):
        assert np.all(np.isnan(list(values.values())))
        assert all(name in failures[measure] for measure in measures.MEASURES)
    assert "2 channels at 16000 Hz" in spoilt[2].failures["snr"]
    assert "1 channels at 8000 Hz" in spoilt[3].failures["snr"]
    assert last.failures == {}


def test_no_pairs_have_no_scores() -> None:
    assert score_files([]) == []


def test_measures_do_not_import_tensorflow() -> None:
    program = "import sys, measures.measures; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_the_interval_is_the_student_interval_of_the_speakers_means() -> None:
    random = np.random.default_rng(3)
    speakers = ["a"] * 50 + ["b"] * 3 + ["c"] * 7 + ["d"]
    values = random.normal(3, 0.1, len(speakers)) + np.array([ord(speaker) - 98 for speaker in speakers])
    means = [np.mean(values[np.array(speakers) == speaker]) for speaker in "abcd"]
    low, high = scipy.stats.t.interval(0.95, 3, loc=np.mean(means), scale=scipy.stats.sem(means))

    interval = mean_with_interval(list(values), speakers)
    assert interval.mean - interval.half_width == pytest.approx(low)
    assert interval.mean + interval.half_width == pytest.approx(high)
    assert (interval.speakers, interval.left_out) == (4, 0)
    over_files = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    assert interval.half_width > 3 * over_files


def test_the_interval_leaves_nan_out_and_counts_it() -> None:
    interval = mean_with_interval([1.0, math.nan, 3.0, math.nan], ["a", "a", "b", "c"])
    assert interval == (2.0, pytest.approx(scipy.stats.t.ppf(0.975, 1) * 1.0), 2, 2)


def test_the_interval_of_one_speaker_has_a_mean_but_no_width() -> None:
    interval = mean_with_interval([1.0, 2.0], ["a", "a"])
    assert interval.mean == 1.5
    assert math.isnan(interval.half_width)
    assert interval.speakers == 1


def test_the_interval_of_nothing_measured_is_nan() -> None:
    interval = mean_with_interval([math.nan], ["a"])
    assert math.isnan(interval.mean) and math.isnan(interval.half_width)
    assert (interval.speakers, interval.left_out) == (0, 1)


def test_values_and_speakers_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ValueError):
        mean_with_interval([1.0, 2.0], ["a"])


def test_pesq_with_silence_around_hears_the_same_speech(speech_signals: list[NDArray[np.float32]]) -> None:
    signal = speech_signals[0].astype(float)
    noisy = signal + 0.01 * np.random.default_rng(0).standard_normal(len(signal))
    assert measures.pesq_wb_padded(signal, signal) == measures.pesq_wb(signal, signal)
    assert abs(measures.pesq_wb_padded(signal, noisy) - measures.pesq_wb(signal, noisy)) < 0.3
    assert math.isnan(measures.pesq_wb_padded(0 * signal, signal))
