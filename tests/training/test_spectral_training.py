from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from cmrl import stages_of
from kinds.spectral.batch import file_batch
from kinds.spectral.control import SpectralRateController
from kinds.spectral.objective import (
    GROUP_FRAMES,
    Draw,
    as_heard,
    module_bits,
    spectral_objective,
    stretch_samples,
    training_batch,
)
from nsc.errors import UserError
from runs.saved_model import saved_config, saved_weights
from runs.stages import stage_folders
from tests.helpers.spectral_cascade import NETWORK, cascade_of, tiny
from tests.helpers.tiny import Workplace
from training.loop import Training
from training.losses.disturbance import disturbance_losses


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def spectral(**changes: Any) -> dict[str, Any]:
    return NETWORK | {"rate_range": (6.0, 32.0)} | changes


def draw(total: int, *, seed: int = 0, first: int = 0) -> Draw:
    return Draw(tf.constant([seed, 7]), tf.constant((-1.1, 1.5)), first, total)


def test_a_cascade_is_trained_greedily_then_finetuned(place: Workplace) -> None:
    greedy = place.train(training_mode=4, **spectral())
    finetuned = place.train(training_mode=5, base_model_id=greedy.id, **spectral())
    first, follower = (saved_weights(stage_folders(greedy.folder)[stage]) for stage in ("first", "follower_2"))
    finetune = saved_weights(stage_folders(finetuned.folder)["finetune"])
    layers = ("lpc", "step", "lsf_rate", "gain_rate", "codec_1", "codec_2", "rate_1", "rate_2")
    assert {name.split("/")[0] for name in finetune if not name.startswith("table")} == set(layers)
    assert not moved(first, follower)  # the follower alone is trained
    assert moved(follower, finetune) == set(layers)


def test_a_finetuned_codec_gets_followers_of_their_own_size(place: Workplace) -> None:
    greedy = place.train(training_mode=1, **spectral(num_modules=1))
    base = place.train(training_mode=5, base_model_id=greedy.id, **spectral(num_modules=1))
    changes = spectral(spectral_width=(8,), spectral_narrow=(4,))
    run = place.train(training_mode=2, base_model_id=base.id, **changes)
    follower = stage_folders(run.folder)["follower_2"]
    before, after = saved_weights(stage_folders(base.folder)["finetune"]), saved_weights(follower)
    assert moved(before, after) == set()
    assert saved_config(follower).spectral_width == (*NETWORK["spectral_width"], 8)


def moved(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Layers of which an array has changed."""
    arrays = [name for name in before if not name.startswith("table")]
    return {name.split("/")[0] for name in arrays if not np.array_equal(before[name], after[name])}


def test_parts_are_added_to_a_frozen_codec_and_the_enhancer_then_trained_with_it(place: Workplace) -> None:
    short = spectral(num_modules=1, steps_per_epoch=2)
    base = place.train(training_mode=1, **short)
    plain = saved_weights(stage_folders(base.folder)["first"])
    longer = short | {"consecutive_frames": 11, "batch_size": 22}
    for part, changes in (("concealment", longer), ("enhancer", short)):
        with pytest.raises(UserError, match=f"--{part}_width adds one"):
            place.train(training_mode=5, base_model_id=base.id, finetuned=part, **changes)
        frozen = place.train(training_mode=5, base_model_id=base.id, finetuned=part, **changes | {f"{part}_width": 8})
        enhancing = saved_weights(stage_folders(frozen.folder)["finetune"])
        assert moved(plain, enhancing) == set()
        added = {name: array for name, array in enhancing.items() if name not in plain}
        assert {name.split("/")[0] for name in added} == {part}
        assert all(np.any(array) for array in added.values())
        assert place.events(frozen, "step")[-1]["loss"] < 0.5

    together = place.train(training_mode=5, base_model_id=frozen.id, **short | {"enhancer_width": 16})
    whole = stage_folders(together.folder)["finetune"]
    assert saved_config(whole).enhancer_width == 8
    assert {"codec_1", "enhancer"} <= moved(enhancing, saved_weights(whole))

    without = place.train("enhancer_width", training_mode=5, base_model_id=frozen.id, **short | {"enhancer_width": 0})
    left = saved_weights(stage_folders(without.folder)["finetune"])
    assert {name.split("/")[0] for name in enhancing} - {name.split("/")[0] for name in left} == {"enhancer"}


def test_networks_may_compute_in_bfloat16(place: Workplace) -> None:
    run = place.train(training_mode=1, **spectral(num_modules=1, precision="bfloat16"))
    weights = saved_weights(stage_folders(run.folder)["first"])
    assert all(np.isfinite(array).all() for array in weights.values())


def test_stopped_training_continues_to_bit_identical_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = spectral(training_mode=1, num_modules=1, epochs=2, steps_per_epoch=1)
    straight, stopped = Workplace(tmp_path / "straight"), Workplace(tmp_path / "stopped")
    whole = straight.train(**changes)

    validate = Training._validate
    monkeypatch.setattr(Training, "_validate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stopped.train(**changes)
    monkeypatch.setattr(Training, "_validate", validate)
    continued = stopped.train(**changes)
    assert stopped.events(continued, "stopped")
    first, second = (saved_weights(stage_folders(run.folder)["first"]) for run in (whole, continued))
    for name, array in first.items():
        if not name.startswith("table"):
            np.testing.assert_allclose(array, second[name], atol=1e-7, err_msg=name)


def test_the_journal_shows_how_the_parts_share_the_rate(place: Workplace) -> None:
    run = place.train(training_mode=1, **spectral(num_modules=1, steps_per_epoch=1))
    reading = place.events(run, "step")[-1]
    parts = [reading[f"kbps_{name}"] for name in ("lpc", "gain", "codec_1")]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(reading["kbps"], rel=1e-3)


def test_batches_have_all_group_sizes_and_offsets_and_are_the_same_on_any_number_of_replicas() -> None:
    config = cascade_of(**spectral(noise_fill=True)).config
    stretches = tf.random.stateless_normal([32, stretch_samples(config)], [1, 2]) * 0.1
    whole = training_batch(stretches, config, draw(32))
    halves = [training_batch(stretches[first : first + 16], config, draw(32, first=first)) for first in (0, 16)]
    assert whole.lost is None and whole.noise is not None
    for name in set(whole._fields) - {"lost"}:
        found = tf.concat([getattr(half, name) for half in halves], 0)
        np.testing.assert_allclose(found, getattr(whole, name), rtol=1e-6, err_msg=name)
    borders = np.sum(whole.warm.numpy()[..., 0] == 0, 1)
    spectra = whole.warm.shape[1]
    assert set(borders) <= {-(-spectra // (2 * frames)) for frames in GROUP_FRAMES}
    assert len(set(borders)) > 2
    offsets = whole.offsets.numpy()
    assert (offsets == offsets[:, :1]).all() and np.ptp(offsets[:, 0]) > 1
    assert offsets.min() >= -1.1 and offsets.max() <= 1.5


def test_stretches_come_to_a_level_whatever_theirs_was() -> None:
    config = cascade_of(**spectral()).config
    stretches = tf.random.stateless_normal([4, stretch_samples(config)], [1, 2])
    loud, soft = (training_batch(gain * stretches, config, draw(4)).signals for gain in (10.0, 0.01))
    np.testing.assert_allclose(loud, soft, rtol=1e-4, atol=1e-5)


def test_a_joint_budget_pays_for_all_parts_and_modules_for_their_own(speech_signals: list[Any]) -> None:
    cascade = cascade_of(stir=0.02, **spectral(rate_range=()))
    batch = file_batch(speech_signals[0], cascade.config, 0.0, 4)
    output = cascade.call(batch, ["straight_through"] * 2, "straight_through")
    first, follower = stages_of(tiny(**spectral(rate_range=(), training_mode=4)))
    bits = module_bits(output, 2, 2).numpy()[:, 0]
    symbols = cascade.symbols_per_frame(2)
    for stage, paid in ((first, bits[0] / symbols[0]), (follower, bits[1] / symbols[0])):
        losses = [
            spectral_objective(output, batch, cascade, stage, tf.constant([tau, tau]), warm_up=False).total
            for tau in (1.0, 2.0)
        ]
        assert float(losses[1] - losses[0]) == pytest.approx(paid, rel=1e-3)


@pytest.mark.parametrize(("budget", "moves_apart"), [("joint", False), ("modules", True)])
def test_taus_move_together_under_one_budget(budget: str, moves_apart: bool) -> None:
    cascade = cascade_of(**spectral(budget=budget))
    stage = stages_of(tiny(**spectral(training_mode=5)))[0]
    controller = SpectralRateController(cascade, stage)
    controller.bits.assign([60.0, 6.0, 900.0, 30.0])
    before = controller.tau.numpy().copy()
    controller.steer()
    change = controller.tau.numpy() / before
    assert (abs(change[0] - change[1]) > 1e-3) == moves_apart
    assert change[0] > 1


def test_step_sizes_move_by_codec_and_carry_their_rates_with_them(speech_signals: list[Any]) -> None:
    cascade = cascade_of(stir=0.02, **spectral(rate_range=()))
    batch = file_batch(speech_signals[0], cascade.config, 0.0, 4)

    def bits() -> Any:
        return np.array(cascade.call(batch, ["hard"] * 2, "hard").bits[2:])[:, 0]

    before = bits()
    cascade.move_steps([0.0, 0.5])
    finer_first = bits()
    assert finer_first[0] == before[0] and finer_first[1] < 0.9 * before[1]
    cascade.move_steps([0.5, 0.0])
    assert bits()[0] < 0.9 * before[0]
    assert bits()[1] < finer_first[1]  # what the first leaves grows with its steps, and so do the next one's


def test_a_new_codec_begins_at_the_price_of_a_bit_that_the_one_before_came_to() -> None:
    cascade = cascade_of(**spectral())
    controller = SpectralRateController(cascade, stages_of(tiny(**spectral(training_mode=2)))[0])
    controller.begin_from([310.0])
    np.testing.assert_allclose(controller.tau, [310.0, 310.0])
    controller.begin_from([])
    np.testing.assert_allclose(controller.tau, [310.0, 310.0])  # as it was


@pytest.mark.parametrize(("steps", "faster"), [(8000, 1.0), (800, 1.0), (160, 5.0), (3, 8.0), (0, 1.0)])
def test_tau_of_a_short_stage_moves_as_much_faster(steps: int, faster: float) -> None:
    options = spectral(training_mode=1, steps_per_epoch=steps, epochs=1)
    controller = SpectralRateController(cascade_of(**options), stages_of(tiny(**options))[0])
    controller.bits.assign([60.0, 10.0, 3000.0])
    before = float(controller.tau[0])
    controller.steer()
    assert np.log(float(controller.tau[0]) / before) == pytest.approx(0.1 * faster, rel=1e-3)


@pytest.mark.parametrize("fall", [0.5, 0.85, 1.2])
@pytest.mark.parametrize(("mode", "budget"), [(5, "modules"), (5, "joint"), (2, "modules"), (1, "joint")])
def test_a_finished_model_is_corrected_to_its_target_however_bits_fall_with_steps(
    mode: int, budget: str, fall: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cascade = cascade_of(**spectral(budget=budget))
    controller = SpectralRateController(cascade, stages_of(tiny(**spectral(training_mode=mode)))[0])
    depth, side, overhead = controller.stage.depth, [60.0, 10.0], 8.0
    moved = np.zeros(depth)
    monkeypatch.setattr(controller, "_move_steps", lambda changes: np.add(moved, changes, out=moved))
    begin = np.array([281.0 if mode == 2 else 200.0, 600.0])[:depth]

    def files() -> Any:
        return begin * np.exp(-fall * moved)

    while controller.correct([*side, *files()], overhead):
        pass
    codes = 16_000 / cascade.frames_per_second - sum(side) - overhead  # of both codecs
    if budget == "modules":
        trained = list(controller.stage.trained)
        np.testing.assert_allclose(files()[trained], codes / 2, rtol=0.02)
    else:
        assert files().sum() == pytest.approx(codes * depth / 2, rel=0.02)


@pytest.mark.parametrize("own", [0.0, 0.5])
def test_rates_at_all_offsets_tell_the_one_at_the_models_own(own: float) -> None:
    cascade = cascade_of(**spectral(default_offset=own))
    controller = SpectralRateController(cascade, stages_of(tiny(**spectral(training_mode=1)))[0])
    offsets = np.linspace(-1, 1, 9, dtype=np.float32)[:, None] * np.ones((1, 16), np.float32)
    bits = [tf.constant(share * np.exp(-0.85 * offsets[:, 0])) for share in (80.0, 8.0, 800.0)]
    controller.observe((bits, tf.constant(offsets)))
    expected = np.array([10, 1, 100]) * np.exp(-0.85 * own)
    np.testing.assert_allclose(controller.measured_bits(), expected, rtol=1e-4)


def distortion_of_half(**weights: float) -> tuple[float, tf.Tensor, tf.Tensor]:
    """The objective without rate where the decoded signal is half of the speech, and the two as they are heard."""
    none = {"loudness_weight": 0.0, "disturbance_weight": 0.0, "coefficients": (0.0, 0.0, 0.0, 1.0)}
    config = tiny(**spectral(**(none | weights)))
    cascade = cascade_of(**spectral())
    batch = training_batch(tf.random.stateless_normal([2, stretch_samples(config)], [3, 4]), config, draw(2))
    batch = batch._replace(offsets=tf.zeros_like(batch.offsets))
    soft = cascade.call(batch, ["hard"], "hard")._replace(signals=[batch.signals / 2])
    cascade.config = config
    stage = stages_of(tiny(**spectral(training_mode=1)))[0]
    heard = as_heard(batch.signals[:, config.hop : -config.hop], config)
    total = spectral_objective(soft, batch, cascade, stage, tf.zeros([2]), warm_up=True).total
    return float(total), heard, heard / 2


def test_the_loss_on_levels_is_the_squared_decibels_of_a_wrong_gain() -> None:
    loss, _, _ = distortion_of_half(level_weight=1.0)
    assert loss == pytest.approx(6.0206**2, rel=1e-3)


def test_the_loss_on_disturbance_is_of_speech_as_it_is_heard_and_counts_by_its_weight() -> None:
    loss, heard, half = distortion_of_half(disturbance_weight=3.0)
    assert loss == pytest.approx(3 * float(tf.reduce_mean(disturbance_losses(heard, half))), rel=1e-4)


@pytest.mark.parametrize("offset", [-1.0, 1.5])
def test_losses_and_bits_are_weighted_so_that_all_offsets_train_alike(offset: float) -> None:
    """Distortion grows by e^(1.1 offset) and is weighted by its inverse; a bit counts e^(1.2 offset) as much."""
    weights = {"loudness_weight": 0.0, "disturbance_weight": 0.0, "coefficients": (1.0, 0.0, 0.0, 1.0)}
    cascade = cascade_of(**spectral(**weights))
    batch = training_batch(
        tf.random.stateless_normal([2, stretch_samples(cascade.config)], [3, 4]), cascade.config, draw(2)
    )
    output = cascade.call(batch, ["hard"], "hard")
    stage = stages_of(tiny(**spectral(training_mode=1)))[0]

    def total(offset: float, tau: float) -> float:
        moved = batch._replace(offsets=tf.fill(batch.offsets.shape, offset))
        return float(spectral_objective(output, moved, cascade, stage, tf.fill([2], tau), warm_up=False).total)

    assert total(offset, 0.0) / total(0.0, 0.0) == pytest.approx(np.exp(-1.1 * offset), rel=1e-4)
    paid, at_zero = (total(each, 1.0) - total(each, 0.0) for each in (offset, 0.0))
    assert paid / at_zero == pytest.approx(np.exp(1.2 * offset), rel=1e-3)
