import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral.batch import file_batch
from kinds.spectral.cascade import SpectralBatch, SpectralCascade
from kinds.spectral.fitting import rate_fit
from kinds.spectral.rate import Known
from kinds.spectral.tables import (
    SampleGroups,
    build_coder,
    cut_groups,
    fit_lsf_model,
    offset_grid,
    rounded_model,
)
from nsc.entropy.coefficient_model import CoefficientModel
from nsc.entropy.lsf_model import LsfModel
from nsc.entropy.model_arrays import ModelArrays
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from options.config import from_dict

GROUP_SIZES = (1, 4, 16)
OFFSETS = offset_grid(-1.0, 1.25)
MIDDLE = 32


class Coded:
    """An untrained cascade of two codecs whose rate networks are not, and what it makes of real speech."""

    def __init__(self, clips: list[NDArray[np.float32]]) -> None:
        keras.utils.set_random_seed(4)
        settings = {"resnet_type": "spectral", "num_resnets": 2, "spectral_width": "16 8"}
        settings |= {"batch_size": 64, "consecutive_frames": 32}
        self.config = from_dict(settings, origin="test")
        self.cascade = SpectralCascade(self.config)
        random = np.random.default_rng(3)
        for each in self.cascade.rates:
            for output, direct in zip(each.outputs, each.direct, strict=True):
                output.kernel.assign(random.normal(0, 0.05, output.kernel.shape))
                direct.kernel.assign(random.uniform(0, 0.15, direct.kernel.shape))
            each.bin_offsets.assign(random.normal(-2.0, 0.1, each.bin_offsets.shape))
        self.clips = clips
        self.samples = [self.groups(frames) for frames in GROUP_SIZES]

    def batch(self, clip: NDArray[np.float32], frames: int) -> SpectralBatch:
        return file_batch(clip, self.config, 0.0, frames)

    def groups(self, frames: int) -> SampleGroups:
        """Whole groups of all clips."""
        parts = [self.symbols(clip, frames) for clip in self.clips]
        lsf, gains = (np.concatenate([getattr(each, name) for each in parts]) for name in ("lsf", "gains"))
        indices = tuple(np.concatenate([each.indices[number] for each in parts]) for number in range(2))
        return SampleGroups(SpectralSymbols(lsf, gains, indices), np.full(len(lsf), MIDDLE))

    def symbols(self, clip: NDArray[np.float32], frames: int) -> SpectralSymbols:
        found = self.cascade.symbols_of(self.batch(clip, frames), 2)
        whole = SpectralSymbols(found.lsf.numpy(), found.gains.numpy(), tuple(each.numpy() for each in found.codes))
        return cut_groups(whole, frames)


@pytest.fixture(scope="module")
def coded(speech_signals: list[NDArray[np.float32]]) -> Coded:
    return Coded(speech_signals[-2:])


@pytest.fixture(scope="module")
def coder(coded: Coded) -> SpectralCoder:
    return build_coder(coded.cascade, 2, coded.samples, OFFSETS)


@pytest.mark.parametrize("frames", GROUP_SIZES)
def test_a_rounded_rate_network_charges_what_training_estimates(
    coded: Coded, coder: SpectralCoder, frames: int
) -> None:
    models = [rounded_model(each) for each in coded.cascade.rates]
    rounded = SpectralCoder(coder.lsf, coder.cosines, coder.gains, models, OFFSETS)
    for clip in coded.clips:
        groups = coded.symbols(clip, frames)
        ideal = rounded.code_lengths(groups, np.full(len(groups.lsf), MIDDLE)).indices
        spectra = groups.gains.size
        batch = coded.batch(clip, frames)
        envelope = coded.cascade.front_end.decode(groups.lsf.reshape(1, -1, 16), groups.gains.reshape(1, -1))
        known = Known(envelope, tf.zeros([1, spectra]), batch.warm[:, :spectra])
        below = None
        for each, indices, bits in zip(coded.cascade.rates, groups.indices, ideal, strict=True):
            values = tf.constant(indices.reshape(1, spectra, -1), tf.float32)
            estimate = float(tf.reduce_sum(each(values, known, below)))
            assert bits.sum() == pytest.approx(estimate, rel=0.02)
            below = values


def test_counted_tables_cost_less_than_those_of_training(coded: Coded, coder: SpectralCoder) -> None:
    models = [rounded_model(each) for each in coded.cascade.rates]
    trained = SpectralCoder(coder.lsf, coder.cosines, coder.gains, models, OFFSETS)
    symbols, offsets = coded.samples[-1]
    before, after = trained.code_lengths(symbols, offsets), coder.code_lengths(symbols, offsets)
    assert all(ours.sum() < theirs.sum() for ours, theirs in zip(after.indices, before.indices, strict=True))


@pytest.mark.parametrize("frames", GROUP_SIZES)
def test_real_speech_comes_back_and_is_as_long_as_the_ideal_code(
    coded: Coded, coder: SpectralCoder, frames: int
) -> None:
    sent = bits = 0.0
    for clip in coded.clips:
        groups = coded.symbols(clip, frames)
        for number in range(min(4, len(groups.lsf))):
            symbols = groups.group(number)
            messages = coder.encode(symbols, MIDDLE)
            found = coder.decode(messages, frames, MIDDLE)
            assert np.array_equal(found.lsf, symbols.lsf) and np.array_equal(found.gains, symbols.gains)
            assert all(np.array_equal(a, b) for a, b in zip(found.indices, symbols.indices, strict=True))
            lengths = coder.code_lengths(symbols, np.array(MIDDLE))
            bits += lengths.lsf.sum() + lengths.gains.sum() + sum(each.sum() for each in lengths.indices)
            sent += 8 * sum(map(len, messages))
    # a message ends at a whole byte, which the shortest groups feel
    assert sent == pytest.approx(bits, rel=0.01)


def test_a_built_coder_passes_its_own_checks(coder: SpectralCoder) -> None:
    again = SpectralCoder.read(coder.arrays())
    assert np.array_equal(again.codecs[1].tables, coder.codecs[1].tables)


def test_lsf_tables_learn_how_lsfs_follow_each_other() -> None:
    random = np.random.default_rng(1)
    codebook = np.linspace(0.03, 3.1, 256)
    base = np.arange(8, 256, 16) + 3 * random.standard_normal((2000, 1, 1)).cumsum(1)
    walks = np.clip(np.rint(base + 2 * random.standard_normal((2000, 8, 16)).cumsum(1)), 0, 255).astype(np.int32)
    model = fit_lsf_model(codebook, [walks[:900], walks[900:1000, :1]])
    held_out = walks[1000:]
    bits = 16 - np.log2(model.tables)[model.rows(held_out), held_out]
    assert bits[:, 1:].mean() < bits[:, 0].mean() < 8
    # a step of 2 levels has an entropy of log2(2 sqrt(2 pi e)) = 3.05 bits
    assert bits[:, 1:].mean() == pytest.approx(3.05, abs=0.15)
    assert LsfModel.read(ModelArrays(model.arrays())).counts.sum() == len(model.tables)


def test_levels_that_training_moved_below_zero_make_a_sound_model() -> None:
    codebook = np.linspace(-0.01, 3.2, 256)
    symbols = np.sort(np.random.default_rng(4).integers(0, 256, (9, 8, 16)), -1).astype(np.int32)
    model = fit_lsf_model(codebook, [symbols])
    assert model.angles.min() == 0
    LsfModel.read(ModelArrays(model.arrays()))


def test_groups_are_cut_in_order_and_a_rest_is_left_out() -> None:
    lsf = np.arange(2 * 5 * 16).reshape(2, 5, 16).astype(np.int32)
    gains = np.arange(20).reshape(2, 10).astype(np.int32)
    indices = np.arange(2 * 10 * 320).reshape(2, 10, 320).astype(np.int32)
    found = cut_groups(SpectralSymbols(lsf, gains, (indices,)), 2)
    assert found.gains.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [10, 11, 12, 13], [14, 15, 16, 17]]
    assert np.array_equal(found.lsf[2], lsf[1, :2]) and np.array_equal(found.indices[0][1], indices[0, 4:8])


def test_offsets_rise_by_a_thirty_second_and_have_zero_among_them() -> None:
    assert OFFSETS[MIDDLE] == 0 and set(np.diff(OFFSETS)) == {8} and [OFFSETS[0], OFFSETS[-1]] == [-256, 320]


def test_rounded_weights_stay_in_the_range_that_a_reader_accepts(coded: Coded) -> None:
    for number, each in enumerate(coded.cascade.rates):
        arrays = ModelArrays(rounded_model(each).arrays())
        CoefficientModel.read(arrays, follower=number > 0)


def test_fitting_the_rate_alone_saves_bits(coded: Coded, coder: SpectralCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_fit, "SPECTRA_PER_STEP", 64)
    variables = [variable for each in coded.cascade.rates for variable in each.weights]
    before = [np.asarray(variable) for variable in variables]
    bits = rate_fit.fit_rates(coded.cascade, coded.samples[-1:], OFFSETS, (0, 1), steps=40)
    fitted = build_coder(coded.cascade, 2, coded.samples, OFFSETS)
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    assert np.mean(bits[-5:]) < 0.97 * np.mean(bits[:5])
    symbols, offsets = coded.samples[1]
    cost = [sum(part.sum() for part in each.code_lengths(symbols, offsets).indices) for each in (coder, fitted)]
    assert cost[1] < cost[0]
