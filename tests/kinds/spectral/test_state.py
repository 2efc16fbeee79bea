"""Networks that remember the past in place of frames of it: in pieces as whole, and as with those frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import nsc
from kinds.spectral.cascade import SpectralBatch, SpectralCascade
from kinds.spectral.grid import Memory
from nsc.kinds.spectral.model import SpectralModel
from tests.helpers.spectral_cascade import cascade_of, saved_spectral_model

Signal = NDArray[np.float32]
SPECTRA, HOP = 12, 320


@pytest.fixture(scope="module")
def cascade() -> SpectralCascade:
    return cascade_of(stir=0.01, spectral_blocks=(2,), noise_fill=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, speech_folder: Path) -> SpectralModel:
    paths = sorted(speech_folder.rglob("*.flac"))[:2]
    found = saved_spectral_model(tmp_path_factory.mktemp("check") / "state", paths).coding
    assert isinstance(found, SpectralModel)
    return found


def batch_between(signal: Signal, first: int, end: int) -> SpectralBatch:
    """Spectra `first` to `end` - 1 at levels and offsets that rise."""
    spectra = np.arange(first, end, dtype=np.float32)
    steps = 0.1 + 0.01 * spectra, 0.02 * spectra - 0.1
    values = signal[first * HOP : (end + 1) * HOP], *steps, np.zeros((end - first, 2), np.float32)
    noise = np.random.default_rng(3).standard_normal((SPECTRA, HOP)).astype(np.float32)[first:end]
    return SpectralBatch(*(tf.constant(each[None].astype(np.float32)) for each in (*values, noise)))


@pytest.mark.parametrize("size", [2, 4, 6])
def test_a_signal_in_pieces_gives_what_it_gives_whole(cascade: SpectralCascade, real_speech: Signal, size: int) -> None:
    whole = batch_between(real_speech[8000:], 0, SPECTRA)
    symbols, codes = cascade.quantised_of(whole, 2)
    signal = cascade.signals_of(symbols, whole.levels, whole.offsets, whole.noise)[-1][0].numpy()
    states = [np.zeros((1, count), np.float32) for count in (cascade.encoder_state(2), cascade.decoder_state(2))]
    for first in range(0, SPECTRA, size):
        piece = batch_between(real_speech[8000:], first, first + size)
        encoder, decoder = map(Memory, states)
        found, found_codes = cascade.quantised_of(piece, 2, encoder)
        for expected, code in zip(codes, found_codes, strict=True):
            np.testing.assert_allclose(code, expected[:, first : first + size], atol=1e-3)
        assert np.mean(found.codes[0] != symbols.codes[0][:, first : first + size]) < 1e-3
        made = cascade.signals_of(found, piece.levels, piece.offsets, piece.noise, memory=decoder)[-1][0].numpy()
        complete = slice(first * HOP, (first + size) * HOP)
        np.testing.assert_allclose(made[: size * HOP], signal[complete], atol=2e-3)
        states = [encoder.state, decoder.state]
        assert [state.shape[1] for state in states] == [cascade.encoder_state(2), cascade.decoder_state(2)]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("spans", "refresh"), [(3, None), (1, 4)])
def test_a_state_gives_the_bytes_and_samples_that_frames_of_the_past_give(
    model: SpectralModel, real_speech: Signal, layers: int, spans: int, refresh: int | None
) -> None:
    seeing = replace(model, settings=replace(model.settings, encoder_state=0, decoder_state=0))
    signal = real_speech[:9_000]
    data = nsc.encode(signal, model, spans=spans, refresh=refresh)
    assert model.settings.encoder_state > 0
    sent, other = model.symbols(data), seeing.symbols(nsc.encode(signal, seeing, spans=spans, refresh=refresh))
    assert all(np.mean(sent[name] != other[name]) < 1e-3 for name in sent)
    found, expected = nsc.decode(data, model, layers), nsc.decode(data, seeing, layers)
    assert not found.damage
    np.testing.assert_allclose(found.signal, expected.signal, atol=1e-5)


def test_a_model_that_looks_ahead_keeps_no_state() -> None:
    ahead = cascade_of(look_ahead=1)
    assert ahead.encoder_state(2) == ahead.decoder_state(2) == 0
