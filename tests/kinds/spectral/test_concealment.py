"""The concealment of losses: goes on with what was heard, fades, is the same in training, stream and LiteRT."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

import nsc
from export.codec_folder import export_codec
from export.graph import as_litert
from kinds.spectral.decoded.concealment import Concealment
from kinds.spectral.graphs import concealment_graph
from kinds.spectral.serving import KerasConcealmentNetwork
from nsc.format import packets_of
from nsc.kinds.spectral import concealment as streamed
from nsc.kinds.spectral.concealment import (
    BACKGROUND_TO,
    LONGEST,
    MOST_BACKGROUND,
    ConcealmentNetwork,
    GraphConcealment,
)
from nsc.kinds.spectral.concealment import Concealment as Stream
from nsc.loading.folder import CONCEALMENT
from nsc.loading.litert import Graphs
from runs.saved_model import load_model, save_model
from tests.helpers.spectral import random_coder
from tests.helpers.spectral_cascade import cascade_of

Array = NDArray[np.float32]
HOP, FRAME, WIDTH = 160, 640, 16
SPECTRA = FRAME // HOP
LEVEL = 0.3
NO_NOISE = np.zeros((SPECTRA, HOP), np.float32)


def concealment(*, stir: float = 0.0) -> Concealment:
    """With fresh weights; `stir` moves those that start at zero, too."""
    keras.utils.set_random_seed(4)
    made = Concealment(WIDTH, HOP, "sine")
    made.gains.kernel.assign(stir * np.random.default_rng(1).standard_normal(made.gains.kernel.shape))
    return made


@pytest.fixture(params=["keras", "litert"])
def network_of(request: pytest.FixtureRequest) -> Callable[[Concealment], ConcealmentNetwork]:
    if request.param == "keras":
        return KerasConcealmentNetwork

    def litert(of: Concealment) -> ConcealmentNetwork:
        graph = as_litert(concealment_graph(of), "float32")
        return GraphConcealment(Graphs(lambda _: graph))

    return litert


def voice(samples: int, period: int = 100) -> Array:
    harmonics = np.arange(1, 12)[:, None]
    waves = np.cos(2 * np.pi * harmonics * np.arange(samples) / period) / harmonics
    return (0.1 * waves.sum(0)).astype(np.float32)


def test_a_voice_goes_on_in_phase_and_at_its_level(network_of: Callable[[Concealment], ConcealmentNetwork]) -> None:
    """Its harmonics up to 2 kHz; what is above counts as half noise, of which there is none here."""
    whole = voice(8_000 + 3 * FRAME)
    stream = Stream(network_of(concealment()), HOP)
    stream.follow(whole[:8_000], lost=False)
    found = stream(NO_NOISE, LEVEL)[HOP:-HOP]
    expected = whole[8_000 + HOP :][: len(found)]
    assert np.mean(np.square(found - expected)) < 1e-3 * np.mean(np.square(expected))


def test_an_outage_fades_after_40_ms_into_noise_that_ends(
    network_of: Callable[[Concealment], ConcealmentNetwork],
) -> None:
    noise = np.random.default_rng(0).uniform(-1.7, 1.7, (SPECTRA, HOP)).astype(np.float32)
    stream = Stream(network_of(concealment(stir=0.3)), HOP)
    stream.follow(voice(8_000), lost=False)
    powers = [float(np.mean(np.square(stream(noise, LEVEL)[HOP:-HOP]))) for _ in range(20)]
    assert powers[0] > 4 * powers[1] > 16 * powers[2]
    behind = (MOST_BACKGROUND * LEVEL) ** 2
    assert all(behind / 2 < power < 2 * behind for power in powers[3:7])
    assert not any(powers[BACKGROUND_TO // FRAME + 1 :])
    stream.follow(voice(8_000), lost=False)
    assert np.mean(np.square(stream(noise, LEVEL))) > powers[1]  # an outage after speech begins anew


def test_training_conceals_as_a_stream_does(
    real_speech: Array,
    network_of: Callable[[Concealment], ConcealmentNetwork],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two outages of 120 and 40 ms in the second halves of 0.4 s each; a stream's own fade is left out."""
    monkeypatch.setattr(streamed, "FADE_DB", 0.0)
    moved = concealment(stir=0.3)
    signal = real_speech[: 2 * 2 * LONGEST + HOP]
    spectra = len(signal) // HOP - 1
    noise = np.random.default_rng(0).uniform(-1.7, 1.7, (spectra, HOP)).astype(np.float32)
    arguments = signal[None], np.full((1, spectra), LEVEL, np.float32), np.array([[12, 4]]), noise[None]
    concealed, by_rule = (each[0].numpy() for each in moved.conceal(*map(tf.constant, arguments)))
    assert np.abs(concealed - by_rule).max() > 1e-3
    stream = Stream(network_of(moved), HOP)
    for start, packets in ((LONGEST, 3), (3 * LONGEST, 1)):
        stream.follow(signal[:start], lost=False)
        for place in range(start, start + packets * FRAME, FRAME):
            found = stream(noise[place // HOP :][:SPECTRA], LEVEL)
            # the first and the last hop lack their overlap
            np.testing.assert_allclose(found[HOP:-HOP], concealed[place:][HOP:FRAME], atol=1e-5)
        after = slice(start + packets * FRAME + HOP, start + LONGEST)
        np.testing.assert_allclose(concealed[after], signal[after], atol=1e-5)


def test_a_short_training_reduces_the_error(real_speech: Array) -> None:
    trained = concealment()
    signal = tf.constant(real_speech[: 4 * 2 * LONGEST + HOP][None])
    spectra = signal.shape[1] // HOP - 1
    levels, lost = tf.fill([1, spectra], LEVEL), tf.constant([[20] * 4])
    noise = tf.random.stateless_uniform([1, spectra, HOP], [1, 2], -1.7, 1.7)
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(trained.trainable_variables)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            error = tf.reduce_mean(tf.square(trained.conceal(signal, levels, lost, noise)[0] - signal))
        gradients = tape.gradient(error, trained.trainable_variables)
        optimizer.apply_gradients(zip(gradients, trained.trainable_variables, strict=True))
        return error

    errors = [float(step()) for _ in range(30)]
    assert errors[-1] < 0.85 * errors[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model with a concealment, of random weights."""
    cascade = cascade_of(stir=0.01, num_modules=1, concealment_width=WIDTH)
    place: Path = tmp_path_factory.mktemp("check")
    save_model(place, "first", cascade, random_coder(codecs=1).arrays(), 1)
    export_codec(load_model(place / "stages" / "first"), place / "concealing")
    return place / "concealing"


def test_a_model_conceals_by_the_graph_that_was_exported_with_it(folder: Path, real_speech: Array) -> None:
    model, signal = nsc.load(str(folder)), real_speech[:16_000]
    assert (folder / CONCEALMENT).is_file()
    header, packets = packets_of(nsc.encode(signal, model, refresh=1))
    decoder = nsc.PacketDecoder(model, header)
    for packet in packets[:12]:
        decoder.write(packet)
    assert np.abs(decoder.lost()).max() > 0
    after = np.concatenate([decoder.lost() for _ in range(44)])
    assert not after[-FRAME:].any()
