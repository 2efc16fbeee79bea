"""Decoders that add noise: in training, in Keras, in LiteRT graphs and in streams."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import nsc
from export.codec_folder import export_codec
from kinds.spectral.cascade import SpectralCascade
from nsc.coding.whole import decode, encode
from tests.helpers.places import CORPUS
from tests.helpers.spectral_cascade import batch_of, cascade_of, saved_spectral_model, tiny

Array = NDArray[np.float32]
FILL = {"noise_fill": True, "hop": 160, "spectra_per_frame": 4, "fold": 8}


@pytest.fixture(scope="module")
def cascade() -> SpectralCascade:
    return cascade_of(stir=0.01, **FILL)


def test_noise_is_added_to_what_codes_say(cascade: SpectralCascade, real_speech: Array) -> None:
    batch = batch_of(real_speech[:16000], cascade.config)
    output = cascade.call(batch, ["hard"] * 2, "hard")
    for signals, noiseless in zip(output.signals, output.noiseless, strict=True):
        assert 0 < np.std(signals - noiseless) < np.std(noiseless)
    silent = cascade.call(batch._replace(noise=tf.zeros_like(batch.noise)), ["hard"] * 2, "hard")
    assert np.allclose(silent.signals[-1], output.noiseless[-1], atol=1e-6)


def test_a_decoder_of_symbols_makes_the_same_noise(cascade: SpectralCascade, real_speech: Array) -> None:
    batch = batch_of(real_speech[:16000], cascade.config)
    output = cascade.call(batch, ["hard"] * 2, "hard")
    symbols = cascade.symbols_of(batch, 2)
    both = cascade.signals_of(symbols, batch.levels, batch.offsets, batch.noise)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(output.signals, both, strict=True))
    first = cascade.signals_of(symbols, batch.levels, batch.offsets, batch.noise, used=[1.0, 0.0])[-1]
    assert np.allclose(first, output.signals[0], atol=1e-5)  # a depth has the noise of its last codec


def test_a_codec_without_noise_has_no_weights_for_it() -> None:
    cascades = [cascade_of(**FILL | {"noise_fill": fill}) for fill in (False, True)]
    shapes = [[tuple(weight.shape) for weight in each.weights] for each in cascades]
    assert shapes[0] != shapes[1] and len(shapes[0]) == len(shapes[1])


def test_graphs_and_layers_decode_alike_and_streams_as_files(tmp_path: Path, real_speech: Array) -> None:
    saved = saved_spectral_model(tmp_path, sorted(CORPUS.rglob("*.flac")), **FILL)
    export_codec(saved, tmp_path / "model")
    model = nsc.load(str(tmp_path / "model"))
    data = encode(real_speech[:24000], saved.coding)
    assert nsc.decode(data, model).signal == pytest.approx(decode(data, saved.coding, 2).signal, abs=1e-4)
    decoder = nsc.Decoder(model)
    pieces = [decoder.write(data[start : start + 100]) for start in range(0, len(data), 100)]
    assert np.allclose(np.concatenate([*pieces, decoder.finish()]), nsc.decode(data, model).signal, atol=1e-6)


def test_tiny_configurations_know_noise() -> None:
    assert tiny(**FILL).noise_fill
