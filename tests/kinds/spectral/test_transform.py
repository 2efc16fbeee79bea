import numpy as np
import pytest
import scipy.fft
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral import transform
from kinds.spectral.options import WINDOWS
from kinds.spectral.transform import inverse_mdct, mdct, mdct_basis, mdct_window

Array = NDArray[np.float32]


def spectra_by_scipy(signal: Array, window: NDArray[np.float64], hop: int) -> NDArray[np.float64]:
    """The MDCT of each block as the DCT-IV of its folded halves (Princen and Bradley, 1986)."""
    spectra = []
    for start in range(0, len(signal) - hop, hop):
        a, b, c, d = np.split(window * signal[start : start + 2 * hop], 4)
        spectra.append(scipy.fft.dct(np.concatenate([-c[::-1] - d, a - b[::-1]]), type=4, norm="ortho"))
    return np.array(spectra)


@pytest.mark.parametrize("hop", [160, 320, 480])
@pytest.mark.parametrize("kind", WINDOWS)
def test_spectra_equal_those_of_scipys_cosine_transform(kind: str, hop: int, real_speech: Array) -> None:
    signal = real_speech[: 20 * hop]
    expected = spectra_by_scipy(signal, mdct_window(kind, hop), hop)
    found = mdct(tf.constant(signal[None]), kind, hop)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", WINDOWS)
def test_the_transform_gives_back_the_signal_to_100_decibels(kind: str, real_speech: Array) -> None:
    signal = real_speech[: 100 * 320]
    restored = inverse_mdct(mdct(tf.constant(signal[None]), kind, 320), kind, 320)[0].numpy()
    inner = slice(320, -320)
    error = np.sum((restored[inner] - signal[inner]) ** 2) / np.sum(signal[inner] ** 2)
    assert 10 * np.log10(error) < -100


def test_tensorfloat_32_would_leave_67_of_the_100_decibels(real_speech: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its factors have 10 bits after the leading one, which is why it is off unless --tf32 allows it."""
    basis = rounded_to_10_bits(mdct_basis("sine", 320))
    monkeypatch.setattr(transform, "mdct_basis", lambda kind, hop: basis)
    signal = real_speech[: 100 * 320]
    spectra = mdct(tf.constant(rounded_to_10_bits(signal[None])), "sine", 320)
    restored = inverse_mdct(tf.constant(rounded_to_10_bits(spectra.numpy())), "sine", 320)[0].numpy()
    inner = slice(320, -320)
    error = np.sum((restored[inner] - signal[inner]) ** 2) / np.sum(signal[inner] ** 2)
    assert -72 < 10 * np.log10(error) < -62


def rounded_to_10_bits(values: Array) -> Array:
    """The nearest numbers of which 10 bits after the leading one are left."""
    bits = values.view(np.uint32).astype(np.uint64) + (1 << 12)
    return (bits & 0xFFFFE000).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("kind", WINDOWS)
def test_windows_fulfil_the_condition_of_princen_and_bradley(kind: str) -> None:
    window = mdct_window(kind, 320)
    np.testing.assert_allclose(window[:320] ** 2 + window[320:] ** 2, 1, atol=1e-12)
    np.testing.assert_allclose(window, window[::-1], atol=1e-12)


def test_white_noise_keeps_its_variance() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 320 * 200)).astype(np.float32)
    assert abs(float(tf.math.reduce_variance(mdct(tf.constant(noise), "sine", 320))) - 1) < 0.02


def test_an_unknown_window_is_refused() -> None:
    with pytest.raises(ValueError, match="one of sine"):
        mdct_window("hamming", 320)
