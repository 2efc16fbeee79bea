"""Speech as samples, frames and gains, and the files that hold it, written whole or not at all."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from constants import (
    FRAME_LENGTH,
    FRAMES_PER_GROUP,
    GAIN_DECAY_DB,
    GAIN_FLOOR_DB,
    GAIN_LEVELS,
    GAIN_STEP_DB,
    HOP,
    OVERLAP,
    PRE_EMPHASIS,
    SAMPLE_RATE,
)
from nsc.atomic import atomic_write as atomic_write
from nsc.atomic import written_whole
from nsc.console import log
from nsc.errors import UserError
from nsc.recording import open_recording
from nsc.wav import write_wav

FloatArray = NDArray[np.floating]

GROUP_LENGTH = FRAMES_PER_GROUP * HOP  # samples that share one gain
HIGH_PASS_HZ = 50.0  # AMR-WB removes what lies below 50 Hz
INT16_SCALE = 32_768.0  # one 16-bit step is 1 / 32768 of full scale


def crossfade_window() -> NDArray[np.float32]:
    """Window [512] with 32-sample Hann fades; windows at hop 480 sum to exactly 1 in float32."""
    phase = np.pi * (np.arange(OVERLAP) + 0.5) / (2 * OVERLAP)
    fade_in = (np.sin(phase) ** 2).astype(np.float32)
    window = np.ones(FRAME_LENGTH, np.float32)
    window[:OVERLAP] = fade_in
    # The complement, whose sum with the fade-in is 1 by construction; a mirror image would only round to it.
    window[-OVERLAP:] = 1 - fade_in
    return window


def number_of_frames(num_samples: int) -> int:
    """Count the frames, t covering [480 t - 32, 480 t + 480), that give each sample its full weight."""
    return max(1, -(-(num_samples + OVERLAP) // HOP))


def cut_frames(signal: FloatArray, context: int = 0) -> NDArray[np.float32]:
    """Cut a signal [n] into overlapping frames, zeros beyond its ends.

    Args:
        signal: samples [n].
        context: samples of the signal to add before and after each frame.

    Returns:
        Frames [number_of_frames(n), 512 + 2 * context], not windowed.
    """
    num_frames = number_of_frames(len(signal))
    length = FRAME_LENGTH + 2 * context
    padded = np.zeros((num_frames - 1) * HOP + length, np.float32)
    start = OVERLAP + context
    padded[start : start + len(signal)] = signal
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::HOP].copy()


def overlap_add(frames: FloatArray, num_samples: int) -> NDArray[np.float32]:
    """Add windowed frames [number_of_frames(num_samples), 512] at hop 480 into a signal [num_samples]."""
    total = np.zeros((len(frames), HOP), np.float32)
    seams = np.zeros((len(frames) + 1, OVERLAP), np.float32)
    total[:, : HOP - OVERLAP] = frames[:, OVERLAP:HOP]
    seams[:-1] += frames[:, :OVERLAP]
    seams[1:] += frames[:, HOP:]
    total[:, HOP - OVERLAP :] = seams[1:]
    return total.reshape(-1)[:num_samples]


def pre_emphasise(signal: FloatArray) -> FloatArray:
    """Filter [..., n] by 1 - 0.68 z^-1 from zero state, in double precision, to the type of the samples."""
    emphasised = signal.astype(np.float64)
    emphasised[..., 1:] -= PRE_EMPHASIS * emphasised[..., :-1]
    return emphasised.astype(signal.dtype)


def de_emphasise(signal: FloatArray) -> FloatArray:
    """Filter [..., n] by 1 / (1 - 0.68 z^-1) from zero state, the inverse of pre_emphasise."""
    from scipy.signal import lfilter  # scipy.signal takes most of a second to import; coding a file needs none of it

    return lfilter([1.0], [1.0, -PRE_EMPHASIS], signal).astype(signal.dtype)


def high_pass(signal: FloatArray) -> FloatArray:
    """Filter [..., n] by a second-order Butterworth high-pass, the place of AMR-WB's pre-filter at 16 kHz."""
    from scipy.signal import sosfilt

    return sosfilt(high_pass_sections(), signal).astype(signal.dtype)


def high_pass_sections() -> NDArray[np.float64]:
    """The filter of `high_pass` as second-order sections [1, 6]."""
    from scipy.signal import butter

    return butter(2, HIGH_PASS_HZ, "highpass", fs=SAMPLE_RATE, output="sos")


def group_levels(signal: FloatArray, mode: str = "group") -> NDArray[np.uint8]:
    """Gain index of each group of 16 frames, samples [7680 g, 7680 (g + 1)), from it and the past only.

    Args:
        signal: samples [n], full scale 1.
        mode: 'group' takes each group's RMS, falling by at most GAIN_DECAY_DB a group so that a pause
            stays quiet; 'utterance' takes the standard deviation of the whole signal for all groups.

    Returns:
        Indices [ceil(number_of_frames(n) / 16)] in steps of GAIN_STEP_DB above GAIN_FLOOR_DB.
    """
    num_groups = -(-number_of_frames(len(signal)) // FRAMES_PER_GROUP)
    if mode == "utterance":
        variance = float(np.var(signal, dtype=np.float64)) if len(signal) else 0.0
        return level_indices(np.full(num_groups, _decibels(variance)))
    if mode == "group":
        return level_indices(_decaying_levels(np.split(signal, np.arange(1, num_groups) * GROUP_LENGTH)))
    raise ValueError(f"gain mode must be 'group' or 'utterance', not {mode!r}")


def level_indices(levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Gain index of each level in dB."""
    steps = np.rint((levels - GAIN_FLOOR_DB) / GAIN_STEP_DB)
    return np.clip(steps, 0, GAIN_LEVELS - 1).astype(np.uint8)


def group_level(group: FloatArray, before: float) -> float:
    """Level in dB of a group of samples, at most GAIN_DECAY_DB below the level before it (-inf at the start)."""
    power = float(np.mean(np.square(group, dtype=np.float64))) if len(group) else 0.0
    return max(_decibels(power), before - GAIN_DECAY_DB)


def _decaying_levels(groups: list[FloatArray]) -> NDArray[np.float64]:
    levels = np.empty(len(groups))
    before = -np.inf
    for g, group in enumerate(groups):
        levels[g] = before = group_level(group, before)
    return levels


def _decibels(power: float) -> float:
    return max(GAIN_FLOOR_DB, 10 * np.log10(power)) if power > 0 else GAIN_FLOOR_DB


def gains_of(indices: NDArray[np.integer]) -> NDArray[np.float32]:
    """Linear gain of each gain index, same shape: the amplitude that a frame is divided by before coding."""
    levels = GAIN_FLOOR_DB + GAIN_STEP_DB * np.asarray(indices, np.float64)
    return (10 ** (levels / 20)).astype(np.float32)


def frame_gains(indices: NDArray[np.integer], num_frames: int) -> NDArray[np.float32]:
    """Linear gain [num_frames] of each frame from the indices [ceil(num_frames / 16)] of its groups."""
    return gains_of(np.repeat(indices, FRAMES_PER_GROUP)[:num_frames])


def load_speech(path: str | Path) -> NDArray[np.float32]:
    """Read an audio file of any kind that `open_recording` takes as 16 kHz mono.

    Returns:
        Samples [round(n * 16000 / rate)] in [-1, 1]; channels are averaged, other rates resampled.

    Raises:
        UserError: the file cannot be read, is empty or holds values that are not finite.
    """
    recording = open_recording(Path(path), str(path))
    for note in recording.notes:
        log.info("%s: %s", path, note)
    try:
        signal = resample(np.concatenate(list(recording.blocks())), recording.rate)
    except MemoryError:
        raise UserError(f"{path}: expected speech that fits into memory, found too much; cut it") from None
    if not len(signal):
        raise UserError(f"{path}: expected speech, found no samples; leave the file out")
    return np.clip(signal, -1, 1)


def resample(signal: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Samples [n] of another rate in Hz as [round(n * 16000 / rate)] at 16 kHz, without delay."""
    if rate == SAMPLE_RATE or not len(signal):
        return signal
    from scipy.signal import resample_poly

    divisor = np.gcd(rate, SAMPLE_RATE)
    resampled = resample_poly(signal.astype(np.float64), SAMPLE_RATE // divisor, rate // divisor)
    return resampled[: round(len(signal) * SAMPLE_RATE / rate)].astype(np.float32)


def to_int16(signal: FloatArray) -> NDArray[np.int16]:
    """Round samples to 16 bits, full scale 1, clipping to [-1, 1)."""
    return np.clip(np.rint(signal * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)


def save_speech(path: str | Path, signal: FloatArray) -> None:
    """Write samples [n] as a 16-bit mono WAV at 16 kHz, clipped to [-1, 1), creating folders on the way."""
    with written_whole(path) as file:
        write_wav(file, [signal])
