"""Speech as samples, frames and gains, and the files that hold it, written whole or not at all."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from constants import FRAME_LENGTH, HOP, OVERLAP, PRE_EMPHASIS, SAMPLE_RATE
from nsc.atomic import atomic_write, written_whole
from nsc.audio import INT16_SCALE, to_int16, write_speech
from nsc.coding.filters import HIGH_PASS_HZ
from nsc.console import log
from nsc.errors import UserError
from nsc.format.version_1 import GROUP_LENGTH, number_of_frames
from nsc.kinds.samples.level import frame_gains, gains_of, group_levels
from nsc.recording import open_recording

FloatArray = NDArray[np.floating]


def crossfade_window() -> NDArray[np.float32]:
    """Window [512] with 32-sample Hann fades; windows at hop 480 sum to exactly 1 in float32."""
    phase = np.pi * (np.arange(OVERLAP) + 0.5) / (2 * OVERLAP)
    fade_in = (np.sin(phase) ** 2).astype(np.float32)
    window = np.ones(FRAME_LENGTH, np.float32)
    window[:OVERLAP] = fade_in
    # The complement, whose sum with the fade-in is 1 by construction; a mirror image would only round to it.
    window[-OVERLAP:] = 1 - fade_in
    return window


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
        raise UserError(f"{path}: expected speech, found no samples; skip the file")
    return np.clip(signal, -1, 1)


def resample(signal: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Samples [n] of another rate in Hz as [round(n * 16000 / rate)] at 16 kHz, without delay."""
    if rate == SAMPLE_RATE or not len(signal):
        return signal
    from scipy.signal import resample_poly

    divisor = np.gcd(rate, SAMPLE_RATE)
    resampled = resample_poly(signal.astype(np.float64), SAMPLE_RATE // divisor, rate // divisor)
    return resampled[: round(len(signal) * SAMPLE_RATE / rate)].astype(np.float32)


def save_speech(path: str | Path, signal: FloatArray) -> None:
    """Write samples [n] as a 16-bit mono WAV at 16 kHz, clipped to [-1, 1), creating folders on the way."""
    with written_whole(path) as file:
        write_speech(file, [signal], ".wav")
