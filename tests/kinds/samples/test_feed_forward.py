import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from constants import FRAMES_PER_GROUP, HOP, LPC_CONTEXT
from kinds.samples.batch import SIGNAL_BATCH, Coded, decode, encode, prepare
from kinds.samples.cascade import SampleCascade
from options.config import Config
from utilities import cut_frames, frame_gains, gains_of, high_pass, pre_emphasise

Array = NDArray[np.float32]

TINY = Config(num_modules=2, block="folded", fold=32, folded_width=16, folded_narrow=8, folded_blocks=1, bins=(16, 8))
GROUP = FRAMES_PER_GROUP * HOP


def cascade_of(**changes: Any) -> SampleCascade:
    tf.keras.utils.set_random_seed(5)
    return SampleCascade(dataclasses.replace(TINY, **changes))


@pytest.fixture(scope="module")
def cascade() -> SampleCascade:
    return cascade_of()


def snr(reference: Array, decoded: Array) -> float:
    """dB."""
    error = np.sum((reference.astype(np.float64) - decoded) ** 2)
    return float(10 * np.log10(np.sum(reference.astype(np.float64) ** 2) / error))


@pytest.mark.parametrize("length", [0, 1, 31, 448, 449, 479, 480, 481, 512, 7648, 7649, 7680, 40_000])
def test_any_length_is_kept_at_every_depth(length: int, cascade: SampleCascade, real_speech: Array) -> None:
    signal = real_speech[4000 : 4000 + length]
    coded = encode(cascade, signal, 2)
    frames = math.ceil((length + 32) / 480)
    assert coded.num_samples == length
    assert len(coded.gain_indices) == math.ceil(frames / 16)
    assert {name: symbols.shape for name, symbols in coded.symbols.items()} == {
        "lpc": (frames, 1, 16),
        "codec 1": (frames, 16, 16),
        "codec 2": (frames, 16, 16),
    }
    for decoded in decode(cascade, coded):
        assert decoded.shape == (length,)
        assert decoded.dtype == np.float32
        assert np.isfinite(decoded).all()


@pytest.mark.parametrize("depth", [1, 2])
def test_what_is_sent_is_enough_to_decode_every_depth(depth: int, cascade: SampleCascade, real_speech: Array) -> None:
    coded = encode(cascade, real_speech, depth)
    sent = {name: np.frombuffer(symbols.tobytes(), np.int32) for name, symbols in coded.symbols.items()}
    received = Coded(
        {name: values.reshape(coded.symbols[name].shape) for name, values in sent.items()},
        np.frombuffer(coded.gain_indices.tobytes(), np.uint8),
        len(real_speech),
    )
    # another model with the same weights, which has seen nothing of the signal
    receiver = cascade_of()
    for variable, source in zip(receiver.weights, cascade.weights, strict=True):
        variable.assign(source)
    found, expected = decode(receiver, received), decode(cascade, coded)
    assert len(found) == depth
    for theirs, ours in zip(found, expected, strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_fewer_layers_decode_to_the_shallower_depths(cascade: SampleCascade, real_speech: Array) -> None:
    deep, shallow = encode(cascade, real_speech, 2), encode(cascade, real_speech, 1)
    assert list(shallow.symbols) == ["lpc", "codec 1"]
    for name, symbols in shallow.symbols.items():
        np.testing.assert_array_equal(symbols, deep.symbols[name])
    np.testing.assert_array_equal(decode(cascade, shallow)[0], decode(cascade, deep)[0])


class PerfectCodecs(tf.Module):
    """Stands for a cascade whose codecs lose nothing: its symbols are the numbers of frames it has seen."""

    def __init__(self, cascade: SampleCascade) -> None:
        super().__init__()
        self.config, self.parts, self.front_end = cascade.config, cascade.parts, cascade.front_end
        self.frames: list[tf.Tensor] = []
        self.batch_sizes: set[int] = set()

    def encode(self, contexts: tf.Tensor, depth: int) -> Any:
        analysis = self.front_end(contexts)
        self.batch_sizes.add(len(contexts))
        self.frames.append(self.front_end.window * self.front_end.synthesise(analysis.residual, analysis.polynomial))
        number = tf.reshape(tf.range(SIGNAL_BATCH) + SIGNAL_BATCH * (len(self.frames) - 1), [-1, 1, 1])
        return type("Symbols", (), {"lsf": None if self.config.time_domain else number, "codes": [number] * depth})

    def decode(self, symbols: Any) -> list[tf.Tensor]:
        self.batch_sizes |= {len(code) for code in symbols.codes}
        return [tf.gather(tf.concat(self.frames, 0), code[:, 0, 0]) for code in symbols.codes]


@pytest.mark.parametrize(
    "changes",
    [{}, {"residual": "taper"}, {"time_domain": True}, {"gain": "utterance"}, {"pre_emphasis": False}],
    ids=str,
)
def test_everything_but_the_codecs_is_transparent(changes: dict[str, Any], real_speech: Array) -> None:
    signal = np.concatenate([real_speech, 0.01 * real_speech])  # more than one batch, with a fall in level
    stand_in: Any = PerfectCodecs(cascade_of(**changes))
    coded = encode(stand_in, signal, 1)
    assert len(coded.symbols["codec 1"]) > SIGNAL_BATCH
    assert snr(signal, decode(stand_in, coded)[0]) > 95


@pytest.mark.parametrize("length", [1, 40_000, 90_000])
def test_the_network_sees_batches_of_one_size_only(length: int, real_speech: Array) -> None:
    stand_in: Any = PerfectCodecs(cascade_of(time_domain=True))
    decode(stand_in, encode(stand_in, np.resize(real_speech, length), 1))
    assert stand_in.batch_sizes == {SIGNAL_BATCH}


def test_the_high_pass_is_applied_before_coding_and_never_undone(real_speech: Array) -> None:
    stand_in: Any = PerfectCodecs(cascade_of(high_pass=True))
    signal = real_speech + 0.1
    decoded = decode(stand_in, encode(stand_in, signal, 1))[0]
    assert snr(high_pass(signal), decoded) > 90


def test_frames_reach_the_network_emphasised_and_at_unit_level(real_speech: Array) -> None:
    prepared = prepare(real_speech, TINY)
    emphasised = cut_frames(pre_emphasise(real_speech), context=LPC_CONTEXT)
    gains = gains_of(prepared.gain_indices)
    for frame, context in enumerate(prepared.contexts):
        np.testing.assert_allclose(context * gains[frame // 16], emphasised[frame], atol=1e-6)
    for group, gain in enumerate(gains):
        samples = real_speech[group * GROUP : (group + 1) * GROUP]
        assert np.sqrt(np.mean(samples**2)) <= 1.1 * gain  # to half a step of 1.5 dB, unless the gain still falls


def test_the_gain_of_an_utterance_is_its_standard_deviation_throughout(real_speech: Array) -> None:
    prepared = prepare(real_speech, dataclasses.replace(TINY, gain="utterance"))
    assert len(np.unique(prepared.gain_indices)) == 1
    level = 20 * np.log10(gains_of(prepared.gain_indices)[0])
    assert level == pytest.approx(20 * np.log10(real_speech.std()), abs=0.76)


def test_symbols_do_not_depend_on_a_frame_s_place_in_the_file(cascade: SampleCascade, real_speech: Array) -> None:
    alone = encode(cascade, real_speech, 2)
    for groups in (1, 3, 5):  # so that frames move within their batches and between them
        later = encode(cascade, np.concatenate([np.zeros(groups * GROUP, np.float32), real_speech]), 2)
        np.testing.assert_array_equal(later.gain_indices[groups:], alone.gain_indices)
        for name, symbols in alone.symbols.items():
            # the first frame's overlap with the silence before it is the same zeros
            np.testing.assert_array_equal(later.symbols[name][groups * 16 :], symbols)


def test_symbols_do_not_depend_on_the_frames_beside_them_in_the_batch(
    cascade: SampleCascade, real_speech: Array
) -> None:
    alone = encode(cascade, real_speech, 2)
    longer = encode(cascade, np.concatenate([real_speech, np.zeros(3 * GROUP, np.float32), real_speech]), 2)
    for name, symbols in alone.symbols.items():
        np.testing.assert_array_equal(longer.symbols[name][: len(symbols)], symbols)


@pytest.mark.parametrize(("decibels", "least_equal"), [(-39, 0.99), (-40, 0.5)])
def test_a_quieter_signal_has_nearly_the_same_symbols(
    decibels: int, least_equal: float, cascade: SampleCascade, real_speech: Array
) -> None:
    """The gain has steps of 1.5 dB: 39 dB are 26 of them, after 40 dB what is left over still changes the codes."""
    quiet = (10 ** (decibels / 20) * real_speech).astype(np.float32)
    loud, soft = encode(cascade, real_speech, 2), encode(cascade, quiet, 2)
    steps = loud.gain_indices.astype(int) - soft.gain_indices
    assert set(steps) <= {math.floor(-decibels / 1.5), math.ceil(-decibels / 1.5)}
    for name in ("lpc", "codec 1"):
        assert np.mean(loud.symbols[name] == soft.symbols[name]) >= least_equal, name
    assert np.mean(np.abs(loud.symbols["codec 1"] - soft.symbols["codec 1"])) < 0.6
    decoded_loud, decoded_soft = decode(cascade, loud)[0], decode(cascade, soft)[0]
    assert np.std(decoded_soft) == pytest.approx(np.std(decoded_loud) * 10 ** (decibels / 20), rel=0.1)


@pytest.mark.parametrize("changes", [{}, {"gain": "utterance"}, {"time_domain": True}], ids=str)
def test_silence_stays_as_good_as_silent(changes: dict[str, Any]) -> None:
    cascade = cascade_of(**changes)
    coded = encode(cascade, np.zeros(2 * GROUP, np.float32), 2)
    assert not np.any(coded.gain_indices)
    for decoded in decode(cascade, coded):
        assert decoded.shape == (2 * GROUP,)
        assert np.abs(decoded).max() < 1e-3  # 60 dB below full scale


@pytest.mark.parametrize("changes", [{"time_domain": True}, {"quantizer": "vector"}, {"strides": (4, 2)}], ids=str)
def test_other_cascades_keep_the_length_too(changes: dict[str, Any], real_speech: Array) -> None:
    cascade = cascade_of(**changes)
    signal = real_speech[8000:12_345]
    coded = encode(cascade, signal, 2)
    assert ("lpc" in coded.symbols) == (not changes.get("time_domain"))
    assert [decoded.shape for decoded in decode(cascade, coded)] == [signal.shape] * 2


def test_gains_change_at_the_seams_of_groups_and_nowhere_else(real_speech: Array) -> None:
    prepared = prepare(real_speech, TINY)
    gains = frame_gains(prepared.gain_indices, len(prepared.contexts))
    assert set(np.flatnonzero(np.diff(gains)) + 1) <= set(range(16, len(gains), 16))
