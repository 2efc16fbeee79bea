import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import stats

from cmrl import stages_of
from kinds.samples.control import SymbolRateController
from nsc.kinds.samples.network import Part
from options.config import Config
from training.loop import CONTROL_INTERVAL

LPC = Part("lpc", (1, 16), 256)
FIRST = Part("codec 1", (256, 1), 32)
SECOND = Part("codec 2", (32, 8), 32)
ORIGINAL: dict[str, Any] = {"tau_controller": "original", "coefficients": (60.0, 10.0, 10.0, 0.1)}
FRAMES_A_SECOND = 16_000 / 480


def controller(mode: int = 1, **changes: Any) -> SymbolRateController:
    """A controller of the mode's last stage in a cascade of two codecs."""
    config = Config(**{"num_modules": 2, "training_mode": mode, "target_entropy": 2.0} | changes)
    return SymbolRateController(config, stages_of(config)[-1], [LPC] * (not config.time_domain) + [FIRST, SECOND])


def gaussian_symbols(part: Part, spread: float, seed: int = 1, frames: int = 4) -> tf.Tensor:
    """Symbols [frames, positions, channels] around the middle of the alphabet."""
    noise = np.random.default_rng(seed).standard_normal((frames, *part.shape))
    return tf.constant(np.clip(np.rint(part.alphabet / 2 + spread * noise), 0, part.alphabet - 1), tf.int32)


def uniform_symbols(part: Part, values: int, frames: int = 64) -> tf.Tensor:
    """Symbols that take so many values equally often: log2(values) bits each."""
    cycle = np.arange(frames * part.shape[0]) % values
    return tf.constant(np.tile(cycle.reshape(frames, part.shape[0], 1), (1, 1, part.shape[1])), tf.int32)


def observe_uniform(control: SymbolRateController, *values: int) -> None:
    """Lets every part in use take so many values equally often."""
    control.observe([uniform_symbols(part, count) for part, count in zip(control.parts, values, strict=True)])


def test_bits_are_the_entropy_of_the_symbols_of_each_channel() -> None:
    control = controller(mode=5)
    symbols = [gaussian_symbols(part, spread) for part, spread in zip(control.parts, (20.0, 1.0, 3.0), strict=True)]
    control.observe(symbols)
    expected = []
    for part, values in zip(control.parts, symbols, strict=True):
        channels = np.moveaxis(values.numpy(), 2, 0).reshape(part.shape[1], -1)
        counts = [np.unique(channel, return_counts=True)[1] for channel in channels]
        expected.append(part.shape[0] * sum(stats.entropy(count, base=2) for count in counts))
    np.testing.assert_allclose(control.measured_bits(), expected, rtol=1e-5)
    np.testing.assert_allclose(control.expected_module_bits(), [expected[0] + expected[1], expected[2]], rtol=1e-5)


def test_old_counts_fade_by_a_twentieth_a_step() -> None:
    control = controller(time_domain=True)
    for _ in range(3):
        observe_uniform(control, 4)
    counts = control.counts[0].numpy()[0]
    np.testing.assert_allclose(counts[:4], 64 * 256 / 4 * (1 + 0.95 + 0.95**2), rtol=1e-6)
    assert not np.any(counts[4:])


@pytest.mark.parametrize(("mode", "depth"), [(1, 1), (2, 2), (5, 2)])
def test_only_the_parts_in_use_are_watched(mode: int, depth: int) -> None:
    assert controller(mode).parts == [LPC, FIRST, SECOND][: depth + 1]
    assert controller(mode, time_domain=True).parts == [FIRST, SECOND][:depth]


def test_the_target_is_bits_a_symbol_of_lsfs_and_codes_together() -> None:
    np.testing.assert_allclose(controller().target_module_bits(), [2.0 * (256 + 16)])
    np.testing.assert_allclose(controller(mode=5).target_module_bits(), [2.0 * (256 + 16), 2.0 * 256])
    np.testing.assert_allclose(controller(mode=5, time_domain=True).target_module_bits(), [2.0 * 256, 2.0 * 256])


def test_each_module_may_have_a_target_of_its_own() -> None:
    targets: dict[str, Any] = {"target_entropy_per_module": (1.5, 2.5)}
    np.testing.assert_allclose(controller(mode=5, **targets).target_module_bits(), [1.5 * 272, 2.5 * 256])
    np.testing.assert_allclose(controller(mode=1, **targets).target_module_bits(), [1.5 * 272])


def test_target_kbps_is_for_everything_that_is_sent_and_codecs_share_what_lpc_and_gain_leave() -> None:
    control = controller(mode=5, target_kbps=16.0)
    observe_uniform(control, 16, 4, 4)
    lpc, gain = 16 * 4.0, 6 / 16  # bits a frame
    first, second = control.target_module_bits()
    assert first + second + gain == pytest.approx(16_000 / FRAMES_A_SECOND, rel=1e-6)
    assert first - lpc == pytest.approx(second, rel=1e-6)
    alone = controller(mode=5, target_kbps=16.0, time_domain=True).target_module_bits()
    np.testing.assert_allclose(alone, [(480 - gain) / 2] * 2)


def test_a_rate_that_lpc_alone_takes_leaves_the_codecs_a_target_above_zero() -> None:
    control = controller(target_kbps=1.0)
    observe_uniform(control, 16, 4)
    lpc = 16 * 4.0
    assert control.target_module_bits()[0] > lpc
    control.steer()
    assert float(control.tau[0]) > 0


def test_closed_loop_raises_tau_above_the_target_and_lowers_it_below() -> None:
    for values, sign in ((16, 1), (4, 0), (2, -1)):
        control = controller(time_domain=True)
        observe_uniform(control, values)
        control.steer()
        assert np.sign(np.round(float(control.tau[0]), 6)) == sign


def test_codes_far_above_their_target_are_not_crushed_at_once() -> None:
    taus = []
    for values in (8, 32):
        control = controller(time_domain=True, target_entropy=1.0)
        observe_uniform(control, values)
        control.steer()
        taus.append(float(control.tau[0]))
    assert taus[0] == taus[1]  # three times the target or five times: as at 40 % above it
    assert 1.0 < taus[0] < 3.0


def test_finetuning_goes_on_from_the_taus_of_the_saved_model() -> None:
    control = controller(mode=5, target_kbps=24.0)
    control.begin_from([1.5, 0.7])
    np.testing.assert_allclose(control.tau, [1.5, 0.7])
    observe_uniform(control, 16, 16, 16)
    control.steer()
    assert np.all(control.tau.numpy() > [1.5, 0.7])
    assert np.all(control.tau.numpy() < [4.6, 3.8])


def test_tau_starts_at_the_fourth_coefficient() -> None:
    np.testing.assert_allclose(controller(mode=5, coefficients=(1.0, 1.0, 1.0, 0.4)).tau, [0.4, 0.4])


def test_frozen_modules_keep_their_tau() -> None:
    for tau_controller in ("closed_loop", "original"):
        control = controller(mode=2, tau_controller=tau_controller)
        observe_uniform(control, 16, 32, 32)
        for _ in range(3):
            control.steer()
            control.end_epoch()
        frozen, trained = control.tau.numpy()
        assert frozen == 0
        assert trained > 0


@pytest.mark.parametrize(
    ("bits", "time_domain", "change"),
    [
        (2.06, False, 0.015),
        (2.04, False, 0.0),
        (1.99, False, -0.045),
        (2.04, True, 0.015),
        (1.99, True, -0.015),
    ],
)
def test_the_original_moves_tau_by_fixed_steps_once_an_epoch(bits: float, time_domain: bool, change: float) -> None:
    control = controller(time_domain=time_domain, **ORIGINAL)
    observe_uniform(control, *[16] * (not time_domain), 4)
    measured = control.measured_bits().sum() / control.symbols_per_frame()[0]
    control.correction.assign([bits / measured, 1.0])
    control.steer()
    assert float(control.tau[0]) == pytest.approx(0.1)
    for epoch in (1, 2):
        control.end_epoch()
        assert float(control.tau[0]) == pytest.approx(0.1 + epoch * change, abs=1e-6)


def test_closed_loop_does_nothing_at_the_end_of_an_epoch() -> None:
    control = controller(time_domain=True)
    observe_uniform(control, 32)
    control.end_epoch()
    assert float(control.tau[0]) == 0


def test_what_validation_files_cost_corrects_the_measured_rate() -> None:
    control = controller(mode=5)
    observe_uniform(control, 16, 4, 4)
    lpc, first, second = control.measured_bits()
    control.validated([1.1 * lpc, 1.1 * first, 0.9 * second])
    np.testing.assert_allclose(control.expected_module_bits(), [1.1 * (lpc + first), 0.9 * second], rtol=1e-6)
    control.validated([lpc, first, 0.39 * second])  # as the second codec of a cascade of few bits
    np.testing.assert_allclose(control.expected_module_bits(), [lpc + first, 0.39 * second], rtol=1e-6)
    control.validated([9 * lpc, 9 * first, 0.1 * second])  # an outlier must not throw the loop
    np.testing.assert_allclose(control.expected_module_bits(), [1.25 * (lpc + first), 0.25 * second], rtol=1e-6)


def test_the_first_move_of_tau_knows_what_files_cost_before_the_first_step() -> None:
    control = controller(mode=5, time_domain=True)
    control.expect([1.2 * 2 * 256, 0.8 * 2 * 256])
    observe_uniform(control, 4, 4)  # 2 bits a symbol, as is the target
    control.control()
    np.testing.assert_allclose(control.expected_module_bits(), [1.2 * 512, 0.8 * 512], rtol=1e-6)
    assert control.tau[0] > 0 > control.tau[1]
    control.validated([512.0, 512.0])  # a later one counts from then on
    control.control()
    np.testing.assert_allclose(control.expected_module_bits(), [512, 512], rtol=1e-6)


class Plant:
    """A codec whose codes spread less as tau rises, but only after a while: bits fall by `slope` for a tau of 1."""

    def __init__(self, slope: float, lag: float, untrained_bits: float) -> None:
        self.slope, self.lag, self.untrained_bits = slope, lag, untrained_bits
        self.bits = untrained_bits

    def symbols(self, part: Part, tau: float, step: int) -> tf.Tensor:
        wanted = np.clip(self.untrained_bits - self.slope * tau, 0.3, 4.5)
        self.bits += (wanted - self.bits) / self.lag
        # a Gaussian of this spread has so many bits when rounded to whole numbers
        return gaussian_symbols(part, 2**self.bits / np.sqrt(2 * np.pi * math.e), seed=step)


def late_error(control: SymbolRateController, plants: list[Plant], steps: int, trained: tuple[int, ...]) -> float:
    """Largest relative error of the rate over the last tenth of the steps."""
    errors: list[NDArray[np.float64]] = []
    observe = tf.function(control.observe)
    for step in range(steps):
        codes = [
            plant.symbols(part, tau, step)
            for plant, part, tau in zip(plants, (FIRST, SECOND), control.tau.numpy(), strict=False)
        ]
        lsf = [] if control.config.time_domain else [gaussian_symbols(LPC, 5.0, seed=step)]
        observe(lsf + codes)
        if step % CONTROL_INTERVAL == 0:
            control.steer()
            if step > 0.9 * steps:
                errors.append(control.expected_module_bits() / control.target_module_bits() - 1)
    return float(np.abs(np.array(errors)[:, list(trained)]).max())


@pytest.mark.parametrize(("slope", "lag"), [(0.3, 10.0), (0.6, 100.0), (1.0, 5.0), (2.0, 50.0)])
def test_the_closed_loop_ends_within_5_percent_of_the_target(slope: float, lag: float) -> None:
    control = controller(time_domain=True)
    assert late_error(control, [Plant(slope, lag, untrained_bits=3.2)], 2400, (0,)) < 0.05


def test_the_closed_loop_ends_within_5_percent_of_a_target_above_what_training_would_choose() -> None:
    control = controller(time_domain=True, target_entropy=3.0)
    assert late_error(control, [Plant(1.0, 30.0, untrained_bits=2.2)], 1200, (0,)) < 0.05
    assert float(control.tau[0]) < 0


def test_the_closed_loop_reaches_target_kbps_with_lsfs_and_two_codecs() -> None:
    control = controller(mode=5, target_kbps=24.0)
    plants = [Plant(0.5, 30.0, untrained_bits=3.2), Plant(1.5, 30.0, untrained_bits=1.0)]
    assert late_error(control, plants, 2400, (0, 1)) < 0.05
    kbps = (control.measured_bits().sum() + 6 / 16) * FRAMES_A_SECOND / 1000
    assert kbps == pytest.approx(24, rel=0.05)


@pytest.mark.parametrize(("values", "dead"), [((1, 4), [0]), ((4, 1), [1]), ((1, 1), [0, 1]), ((4, 4), [])])
def test_dead_codecs_are_those_that_send_one_value(values: tuple[int, int], dead: list[int]) -> None:
    control = controller(mode=5)
    for _ in range(3):
        observe_uniform(control, 16, *values)
    assert control.dead_modules() == dead


def test_a_frozen_codec_is_never_called_dead() -> None:
    control = controller(mode=2)
    observe_uniform(control, 16, 1, 4)
    assert control.dead_modules() == []


def test_all_state_survives_a_checkpoint(tmp_path: Path) -> None:
    control, other = controller(mode=5), controller(mode=5)
    for step in range(3):
        observe_uniform(control, 16, 2 + step, 20)
        control.steer()
    control.validated((1.1 * control.measured_bits()).tolist())
    control.expect((1.2 * control.measured_bits()).tolist())
    path = tf.train.Checkpoint(controller=control).save(str(tmp_path / "state"))
    tf.train.Checkpoint(controller=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(other.measured_bits(), control.measured_bits())
    for each in (control, other):
        observe_uniform(each, 16, 8, 20)
        each.control()
    np.testing.assert_array_equal(other.tau, control.tau)
    np.testing.assert_array_equal(other.expected_module_bits(), control.expected_module_bits())
    assert np.all(control.tau.numpy() != 0)


def test_a_cascade_with_strides_of_its_own_counts_its_own_symbols() -> None:
    config = dataclasses.replace(Config(), training_mode=5)
    parts = [LPC, FIRST._replace(shape=(128, 1)), SECOND]
    control = SymbolRateController(config, stages_of(config)[-1], parts)
    np.testing.assert_array_equal(control.symbols_per_frame(), [128 + 16, 256])


class TestJointBudget:
    """One weight for all that a stage pays for, kept as the modules' shares of it."""

    def test_modules_share_one_weight_by_their_symbols(self) -> None:
        control = controller(mode=5, budget="joint")
        observe_uniform(control, 4, 16, 2)
        control.steer()
        tau = control.tau.numpy()
        assert tau[0] > 0
        assert tau[0] / tau[1] == pytest.approx(272 / 256, rel=1e-5)

    def test_only_the_sum_has_a_target(self) -> None:
        control = controller(mode=5, budget="joint")  # 2 bits for each of 16 + 256 + 256 symbols
        observe_uniform(control, 4, 8, 2)  # 16 x 2 + 256 x 3 + 256 x 1 bits are just that
        control.steer()
        np.testing.assert_allclose(control.tau.numpy(), [0, 0], atol=1e-6)
        apart = controller(mode=5, budget="modules")
        observe_uniform(apart, 4, 8, 2)
        apart.steer()
        assert apart.tau.numpy()[0] > 0 > apart.tau.numpy()[1]

    def test_finetuning_starts_at_the_sum_of_the_greedy_taus(self) -> None:
        control = controller(mode=5, budget="joint")
        control.begin_from([3.0, 1.0])
        np.testing.assert_allclose(control.tau.numpy(), [4 * 272 / 528, 4 * 256 / 528], rtol=1e-6)
        np.testing.assert_allclose(control.integral.numpy(), control.tau.numpy())
        again = controller(mode=5, budget="joint")
        again.begin_from(control.tau.numpy().tolist())
        np.testing.assert_allclose(again.tau.numpy(), control.tau.numpy(), rtol=1e-6)

    def test_the_original_s_rule_moves_the_one_weight_once_an_epoch(self) -> None:
        control = controller(mode=5, budget="joint", **ORIGINAL)
        observe_uniform(control, 4, 8, 4)
        control.end_epoch()
        moved = control.tau.numpy() - 0.1
        np.testing.assert_allclose(moved, 2 * 0.015 * np.array([272, 256]) / 528, rtol=1e-5)


def test_with_a_joint_budget_the_split_between_codecs_moves_and_the_sum_arrives() -> None:
    """Of two codecs, that whose bits are cheaper to save gives them up."""
    bits = {}
    for budget in ("joint", "modules"):
        control = controller(mode=5, target_entropy=2.0, time_domain=True, budget=budget)
        plants = [Plant(0.4, 30.0, untrained_bits=3.0), Plant(1.2, 30.0, untrained_bits=3.0)]
        late_error(control, plants, 1600, (0, 1))
        bits[budget] = control.expected_module_bits() / 256
    assert bits["modules"] == pytest.approx([2.0, 2.0], abs=0.1)
    assert bits["joint"].sum() == pytest.approx(4.0, rel=0.05)
    assert bits["joint"][0] - bits["joint"][1] > 0.5


def test_the_steps_and_the_tolerance_of_the_original_are_a_flag() -> None:
    for values, expected in ((8, 0.02), (2, -0.03), (4, 0.0)):
        control = controller(**ORIGINAL, tau_epoch_steps=(0.02, 0.03, 0.5))
        observe_uniform(control, values, values)
        control.end_epoch()
        assert float(control.tau[0]) - 0.1 == pytest.approx(expected, abs=1e-6)


def test_lsfs_that_are_not_paid_for_have_no_part_in_the_target() -> None:
    control = controller(lsf_terms=False)
    observe_uniform(control, 16, 4)
    np.testing.assert_allclose(control.target_module_bits(), [2.0 * 256])
    np.testing.assert_allclose(control.expected_module_bits(), [2.0 * 256])
    assert control.total_bits() == pytest.approx((2.0 * 256 + 64, 2.0 * 256 + 64))
    all_parts = controller(lsf_terms=False, target_kbps=16.0)
    observe_uniform(all_parts, 16, 4)
    assert all_parts.target_module_bits()[0] + 64 + 6 / 16 == pytest.approx((480 - 64 - 6 / 16) / 2 + 64 + 6 / 16)


@pytest.mark.parametrize("fall", [0.5, 1.2])
@pytest.mark.parametrize("target", [{"target_kbps": 20.0}, {"target_entropy": 2.0}])
@pytest.mark.parametrize("lsf_terms", [True, False])
def test_a_finished_model_is_corrected_to_its_target(
    fall: float, target: dict[str, float], lsf_terms: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SymbolRateController, "unmeasured_bits", 40.0)  # as a gain that would be dear
    control = controller(mode=5, lsf_terms=lsf_terms, **target)
    side, overhead, moved = 80.0, 45.0, np.zeros(2)  # overhead: the gain, and a header
    monkeypatch.setattr(control, "_move_steps", lambda changes: np.add(moved, changes, out=moved))

    def files() -> NDArray[np.float64]:
        return np.array([200.0, 700.0]) * np.exp(-fall * moved)

    while control.correct([side, *files()], overhead):
        pass
    if control.config.target_kbps:
        assert FRAMES_A_SECOND * (files().sum() + side + overhead) == pytest.approx(20_000, rel=0.015)
    else:
        found = files() + np.array([side * lsf_terms, 0])
        np.testing.assert_allclose(found, 2.0 * control.symbols_per_frame(), rtol=0.015)


@pytest.mark.parametrize(
    ("bits", "wanted"),
    [
        ((381.8, 287.8, 322.1, 209.5, 162.7, 203.9, 194.4, 97.5, 54.9, 34.8, 25.7, 20.7, 18.4), 123),
        ((338.7, 283.1, 241.6, 229.7, 167.1, 140.0, 96.1, 153.8, 62.4, 34.8, 26.8, 30.9, 69.3), 90),
    ],
    ids=["about zero", "about the entry most used"],
)
def test_a_rate_that_rises_and_falls_with_the_steps_is_met_all_the_same(
    bits: tuple[float, ...], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As measured, every 0.2, on a second codec whose channels send one of two entries 95 times of 100."""
    steps, moved, overhead = np.arange(-1.8, 0.7, 0.2), np.zeros(2), 0.4
    kbps = (2 * wanted + overhead) * FRAMES_A_SECOND / 1000
    control = controller(mode=2, time_domain=True, target_kbps=kbps)
    monkeypatch.setattr(control, "_move_steps", lambda changes: np.add(moved, changes, out=moved))

    def files() -> list[float]:
        return [119.4, float(np.interp(moved[1], steps, bits))]

    while control.correct(files(), overhead):
        pass
    assert files()[1] == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("original", [True, False])
def test_the_originals_rule_leaves_a_finished_model_where_it_ended(original: bool) -> None:
    config, moves = (
        Config(**({"num_modules": 2, "training_mode": 5} | (ORIGINAL if original else {}))),
        list[Sequence[float]](),
    )
    control = SymbolRateController(config, stages_of(config)[-1], [LPC, FIRST, SECOND], moves.append)
    assert control.correct([80.0, 200.0, 700.0], 5.0) is not original
    assert bool(moves) is not original


def test_a_correction_that_takes_a_finished_model_further_from_its_target_is_taken_back() -> None:
    moved = np.zeros(2)
    config = Config(num_modules=2, training_mode=5, target_entropy=2.0)

    def move(changes: Sequence[float]) -> None:
        moved[:] += changes

    control = SymbolRateController(config, stages_of(config)[-1], [LPC, FIRST, SECOND], move)

    def files() -> NDArray[np.float64]:  # the second's codes end at the last entries where these are drawn together
        return np.array([464.0, 300.0 * min(1.0, np.exp(moved[1]))])

    while control.correct([80.0, *files()], 5.0):
        pass
    np.testing.assert_allclose(moved, 0.0, atol=1e-12)
