import dataclasses
import itertools
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tensorflow.python.framework import config as framework_config

from cmrl import Stage, stages_of
from constants import SAMPLE_RATE
from corpus.find import find_speech
from corpus.packed import PackedCorpus
from corpus.speech_file import SpeechFile
from kinds.samples.cascade import SampleCascade
from loss_terms_and_measures import time_loss
from nsc.coding.whole import encode
from nsc.entropy.context_model import read_models
from nsc.errors import UserError
from nsc.format import truncate
from options.config import QUICKSTART, Config, from_dict, read_experiment
from runs import runs
from runs.runs import Journal
from runs.saved_model import SavedModel, load_model, saved_weights
from runs.stages import stage_folders
from tests.helpers import tiny
from tests.helpers.clumsy import STOPS
from tests.helpers.coding import CODE_GAIN
from tests.helpers.places import GOLDEN
from tests.helpers.tiny import CORPUS, Workplace, wait_for
from training import loop, modes, validation
from training.codebook_start import codes_of
from training.loop import Watch
from training.optimisation import FusedAdam, WeightAverage
from training.step import StageTrainer
from training.validation import ValidationSet

FIRST_STEPS = GOLDEN / "first_steps.json"
REGENERATE = "REGENERATE_GOLDEN"  # set it to write the golden numbers anew, then look at the difference


def original(name: str) -> dict[str, Any]:
    """All that a configuration of the first implementation changes, but for sizes and schedule."""
    config, small = read_experiment(QUICKSTART.parent / f"{name}.toml"), tiny.NETWORK | tiny.SCHEDULE
    values, default = from_dict(config, origin=name), Config()
    changed = [field.name for field in dataclasses.fields(Config) if field.name not in (*small, "shape", "end_kernel")]
    return {name: getattr(values, name) for name in changed if getattr(values, name) != getattr(default, name)}


# Each changes one thing about the tiny cascade; together they are every kind of network, quantiser, front end and loss.
VARIANTS: dict[str, dict[str, Any]] = {
    "gln": {"block": "gln", "shape": (3, 3, 8, 4, 1, 2), "end_kernel": 9},
    "bottleneck at stride 4": {"block": "bottleneck", "shape": (3, 3, 8, 4, 1, 2), "end_kernel": 9, "strides": (4,)},
    "vector quantiser": {"quantizer": "vector"},
    "vectors on the original's grid, soft": {
        "quantizer": "vector",
        "vector_start": "grid",
        "quantizer_gradient": "soft",
    },
    "time domain": {"time_domain": True},
    "mu-law": {"mu_law": True},
    "whole frames": {"residual": "frame"},
    "tapered frames": {"residual": "taper"},
    "sub-frames": {"residual": "subframe"},
    "gain of the utterance": {"gain": "utterance"},
    "loss on the residual": {"loss_domain": "residual"},
    "loss after de-emphasis": {"loss_after_de_emphasis": True},
    "soft mixtures": {"quantizer_gradient": "soft"},
    "fixed LSF codebook": {"train_lsf_codebook": False},
    "scaled input": {"res_scalar": 2.0},
    "high-pass without pre-emphasis": {"high_pass": True, "pre_emphasis": False},
    "gln in bfloat16": {"block": "gln", "shape": (3, 3, 8, 4, 1, 2), "end_kernel": 9, "precision": "bfloat16"},
    "the original of 2020": original("original_2020"),
    "the original of 2021": original("original_2021"),
    "networks that know the envelope, in bfloat16": {"film_units": 4, "precision": "bfloat16"},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packed")


MakeTrainer = Callable[..., StageTrainer]


@pytest.fixture
def trainer_of(cache: Path, tmp_path: Path) -> Iterator[MakeTrainer]:
    """Makes a trainer of a tiny cascade's stage, which takes its steps without compiling them."""

    def make(stage: int = 0, cascade: SampleCascade | None = None, **changes: Any) -> StageTrainer:
        config = tiny.config(**({"num_modules": 1} | changes))
        tf.keras.utils.set_random_seed(config.seed)
        corpus = PackedCorpus.pack(find_speech(CORPUS), cache, config.gain)
        return StageTrainer(cascade or SampleCascade(config), stages_of(config)[stage], corpus, tmp_path)

    with tiny.eager_and_short():
        yield make


def take_steps(trainer: StageTrainer, count: int | None = None) -> list[dict[str, float]]:
    """Trains and gives the losses of each step."""
    losses = []
    for epoch, contexts in itertools.islice(trainer.batches(), count or trainer.total_steps):
        found = trainer.train_step(contexts, epoch)
        losses.append({name: float(each) for name, each in {"total": found.total, **found.terms}.items()})
    return losses


def values(layer: keras.layers.Layer) -> list[NDArray[np.float32]]:
    """All trainable weights of a layer."""
    return [variable.numpy() for variable in layer.trainable_variables]


def share_moved(layer: keras.layers.Layer, before: list[NDArray[np.float32]]) -> float:
    """The share of a layer's trainable weights that are not bit-identical any more."""
    pairs = zip(before, values(layer), strict=True)
    return float(np.mean([not np.array_equal(*pair) for pair in pairs] or [False]))


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_trains(changes: dict[str, Any], trainer_of: MakeTrainer) -> None:
    trainer = trainer_of(**changes)
    before = {id(variable): variable.numpy() for variable in trainer.variables}

    losses = take_steps(trainer, 2)

    assert all(np.isfinite(list(terms.values())).all() for terms in losses)
    stuck = [each.path for each in trainer.variables if np.array_equal(before[id(each)], each.numpy())]
    assert not stuck


def test_a_run_with_a_suffix_finetunes_one_that_has_another(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    greedy = place.train(training_mode=3, num_modules=1, suffix="_greedy")
    finetuned = place.train(training_mode=5, base_model_id=greedy.id, suffix="_fine")
    assert greedy.folder.name == f"{greedy.id}_greedy" and finetuned.folder.name == f"{finetuned.id}_fine"
    assert finetuned.read_record("config.json")["base_model_id"] == greedy.id


def test_a_cascade_of_vectors_and_scalars_is_trained_greedily_then_finetuned(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    changes: dict[str, Any] = {"num_modules": 2, "quantizer": ("vector", "scalar")}
    greedy = place.train(training_mode=4, **changes)
    finetuned = place.train(training_mode=5, base_model_id=greedy.id, **changes)
    assert list(stage_folders(greedy.folder)) == ["first", "follower_2"]
    exported = place.events(finetuned, "exported")[-1]
    assert 0 < exported["kbps_depth_1"] < exported["kbps"]
    assert {name for name in exported if name.startswith("used_")} == {"used_lpc", "used_codec_1", "used_codec_2"}


@pytest.mark.parametrize("front_end", ["lpc", "time_domain"])
def test_first_steps_with_bypassed_quantisers_give_the_golden_losses(front_end: str, trainer_of: MakeTrainer) -> None:
    # Hard decisions turn differences of rounding between machines into other symbols: they are left out here.
    found = take_steps(trainer_of(pretrain_epochs=2, epochs=2, time_domain=front_end == "time_domain", seed=7))

    golden = json.loads(FIRST_STEPS.read_text()) if FIRST_STEPS.exists() else {}
    if REGENERATE in os.environ:
        FIRST_STEPS.parent.mkdir(exist_ok=True)
        FIRST_STEPS.write_text(json.dumps(golden | {front_end: found}, indent=1) + "\n")
        pytest.skip("golden numbers were written")
    assert len(found) == len(golden[front_end]) == 6
    for step, (terms, expected) in enumerate(zip(found, golden[front_end], strict=True)):
        for name in ("total", "time", "mel"):
            assert terms[name] == pytest.approx(expected[name], rel=1e-4), f"{name} at step {step}"


def test_another_seed_gives_other_weights_and_another_order(trainer_of: MakeTrainer) -> None:
    options = {"pretrain_epochs": 1, "time_domain": True}
    same, again, other = (take_steps(trainer_of(seed=seed, **options), 1) for seed in (3, 3, 4))

    assert same == again
    assert same != other


class TestBfloat16:
    def test_its_gradient_points_where_that_of_float32_points(self, trainer_of: MakeTrainer) -> None:
        gradients = {}
        for precision in ("float32", "bfloat16"):
            trainer = trainer_of(precision=precision, clip_norm=0.0, pretrain_epochs=1, epochs=2)
            take_steps(trainer, 1)
            # a first moment that began at 0 is a tenth of the first gradient
            moments = [each.numpy() for each in trainer.optimizer.variables if "momentum" in each.path]
            gradients[precision] = np.concatenate([moment.ravel() for moment in moments])
        exact, rounded = gradients.values()
        cosine = exact @ rounded / np.linalg.norm(exact) / np.linalg.norm(rounded)
        assert 0.99 < cosine < 1 - 1e-9

    def test_weights_and_all_that_a_saved_model_does_stay_float32(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(precision="bfloat16")
        take_steps(trainer, 1)
        assert {variable.dtype for variable in trainer.variables} == {"float32"}
        cascade = SampleCascade(tiny.config(training_mode=1, num_modules=1))
        for variable, value in zip(cascade.variables, trainer.cascade.variables, strict=True):
            variable.assign(value)
        _, contexts = next(trainer.batches())
        symbols = cascade.encode(contexts, 1)
        for found, expected in zip(
            tf.nest.flatten([trainer.cascade.encode(contexts, 1), trainer.cascade.decode(symbols)]),
            tf.nest.flatten([symbols, cascade.decode(symbols)]),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)


class TestVectorCodebooks:
    OPTIONS: ClassVar[dict[str, Any]] = {"quantizer": ("vector",), "pretrain_epochs": 1, "epochs": 3}

    def test_they_start_from_the_codes_at_the_end_of_the_warm_up(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(**self.OPTIONS)
        last = trainer.cascade.codecs[0].encoder.layers[-1]
        last.kernel.assign(last.kernel * CODE_GAIN)  # as codes are after a real warm-up: far beyond the grid
        codebook = trainer.cascade.codecs[0].quantizer.codebook
        grid = codebook.numpy()

        take_steps(trainer, 3)
        np.testing.assert_array_equal(codebook.numpy(), grid)
        codes = codes_of(trainer.cascade, 0, list(trainer.speech.epoch(9, 0, 4)))
        next(trainer.batches())

        def error() -> float:
            return float(np.linalg.norm(codes[:500, None] - codebook.numpy(), axis=-1).min(axis=1).mean())

        near = error()
        assert np.abs(codebook.numpy() - grid).max() > 0.05
        codebook.assign(grid)
        assert near < 0.5 * error()

    def test_the_averaged_weights_start_there_with_them(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(**self.OPTIONS)
        take_steps(trainer, 3)
        next(trainer.batches())
        codebook = trainer.cascade.codecs[0].quantizer.codebook
        started = codebook.numpy()
        with trainer.average.applied():
            np.testing.assert_array_equal(codebook.numpy(), started)

    @pytest.mark.parametrize("step", [3, 4])
    def test_a_run_that_goes_on_at_that_moment_or_later_has_them_alike(
        self, step: int, trainer_of: MakeTrainer
    ) -> None:
        whole, halted = trainer_of(**self.OPTIONS), trainer_of(**self.OPTIONS)
        expected = take_steps(whole, 6)[step:]
        take_steps(halted, step)
        halted.save()
        resumed = trainer_of(**self.OPTIONS)
        assert resumed.resume() == step
        assert take_steps(resumed, 6 - step) == expected
        assert float(resumed.cascade.codecs[0].quantizer.alpha) == float(whole.cascade.codecs[0].quantizer.alpha)

    def test_the_journal_tells_how_many_entries_validation_files_use(self, tmp_path: Path) -> None:
        place = Workplace(tmp_path)
        run = place.train(training_mode=1, num_modules=1, **self.OPTIONS)
        exported = place.events(run, "exported")[0]
        assert 10 < exported["used_codec_1"] <= 1024
        assert 16 < exported["used_lpc"] <= 256

    def test_finetuning_goes_on_with_trained_ones(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(**self.OPTIONS, training_mode=5)
        before = trainer.cascade.codecs[0].quantizer.codebook.numpy()
        next(trainer.batches())
        np.testing.assert_array_equal(trainer.cascade.codecs[0].quantizer.codebook.numpy(), before)

    def test_a_follower_of_vectors_starts_from_what_the_first_codec_left(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(stage=1, num_modules=2, quantizer=("scalar", "vector"), follower_pretrain_epochs=0)
        before = trainer.cascade.codecs[1].quantizer.codebook.numpy()
        take_steps(trainer, 1)
        assert np.abs(trainer.cascade.codecs[1].quantizer.codebook.numpy() - before).max() > 0.01


class TestWhatAStageTrains:
    @pytest.mark.parametrize("frozen", ["hard", "soft"])
    def test_followers_are_trained_on_what_frozen_codecs_decode_as_the_flag_says(
        self, frozen: str, trainer_of: MakeTrainer
    ) -> None:
        options: dict[str, Any] = {"num_modules": 2, "alpha_start": -1.0, "lsf_alpha_start": -30.0}
        trainer = trainer_of(stage=1, follower_pretrain_epochs=0, frozen_codecs=frozen, **options)
        _, contexts = next(trainer.batches())
        losses = {}
        for decision in ("hard", "soft"):
            output = trainer.cascade.call(contexts, [decision, "straight_through"], decision)
            decoded = trainer.cascade.front_end.synthesise(output.sums[1], output.analysis.polynomial)
            losses[decision] = float(time_loss(output.analysis.frames, decoded))
        assert losses["hard"] != pytest.approx(losses["soft"], rel=1e-3)
        assert take_steps(trainer, 1)[0]["time"] == pytest.approx(losses[frozen], rel=1e-5)

    def test_collaborative_quantisation_moves_the_lsf_codebook(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of()
        codebook = trainer.cascade.front_end.quantizer.codebook
        before = codebook.numpy()
        take_steps(trainer, 2)
        assert not np.array_equal(before, codebook.numpy())

    def test_a_fixed_codebook_stays_bit_identical_in_the_first_stage(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(train_lsf_codebook=False)
        before = trainer.cascade.front_end.get_weights()
        take_steps(trainer, 2)
        after = trainer.cascade.front_end.get_weights()
        assert len(before) == 2  # codebook and softmax scale
        assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))

    def test_followers_move_the_new_codec_alone(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(stage=1, num_modules=2)
        first, follower = trainer.cascade.codecs
        before = [values(layer) for layer in (trainer.cascade.front_end, first, follower)]

        take_steps(trainer, 2)

        assert share_moved(trainer.cascade.front_end, before[0]) == 0
        assert share_moved(first, before[1]) == 0
        assert share_moved(follower, before[2]) == 1

    @pytest.mark.parametrize("is_cq", [True, False], ids=["is_cq 1", "is_cq 0"])
    def test_finetuning_moves_all_codecs_and_the_codebook_with_cq_only(
        self, is_cq: bool, trainer_of: MakeTrainer
    ) -> None:
        trainer = trainer_of(num_modules=2, training_mode=5, train_lsf_codebook=is_cq)
        cascade = trainer.cascade
        before = [values(codec) for codec in cascade.codecs]
        codebook = cascade.front_end.quantizer.codebook.numpy()

        take_steps(trainer, 2)

        assert [share_moved(*pair) for pair in zip(cascade.codecs, before, strict=True)] == [1, 1]
        kept = np.array_equal(codebook, cascade.front_end.quantizer.codebook.numpy())
        assert kept is not is_cq

    def test_codebooks_move_at_their_own_share_of_the_learning_rate(self, trainer_of: MakeTrainer) -> None:
        """Adam's first step is the learning rate itself, whatever the gradient."""
        trainer = trainer_of(learning_rate=1e-2, codebook_learning_rate=0.05, learning_rate_schedule="constant")
        before = [variable.numpy() for variable in trainer.variables]

        take_steps(trainer, 1)

        moved = {
            variable.path: float(np.max(np.abs(variable.numpy() - old)))
            for variable, old in zip(trainer.variables, before, strict=True)
        }
        codebooks = {variable.path for variable in trainer.codebooks}
        assert len(codebooks) == 2  # bins and LSF levels
        for path, distance in moved.items():
            assert distance == pytest.approx(5e-4 if path in codebooks else 1e-2, rel=0.02), path

    def test_a_saved_codebook_stays_bit_identical_through_a_whole_run_of_finetuning(self, trained: Workplace) -> None:
        place = Workplace(trained.root / "fixed")
        run = trained_from(trained, place, training_mode=5, train_lsf_codebook=False)
        base = saved_weights(stage_folders(trained.folders()[0])["follower_2"])
        after = saved_weights(stage_folders(run.folder)["finetune"])

        front_end = [name for name in base if name.startswith("lpc/")]
        assert len(front_end) == 2  # codebook and softmax scale
        assert all(np.array_equal(base[name], after[name]) for name in front_end)
        assert any(not np.array_equal(base[name], after[name]) for name in base if name.startswith("codec_1/"))

    def test_greedy_training_leaves_the_exported_first_codec_as_it_was(self, trained: Workplace) -> None:
        folders = stage_folders(trained.folders()[0])
        first, cascade = saved_weights(folders["first"]), saved_weights(folders["follower_2"])
        shared = [name for name in first if not name.startswith("table/")]
        assert all(np.array_equal(first[name], cascade[name]) for name in shared)


def test_a_run_exports_the_contexts_by_which_it_validates(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    run = place.train(training_mode=1, num_modules=1, context_minutes=0.1)
    model = load_model(stage_folders(run.folder)["first"])
    assert read_models(model.tables)["codec 1"].radius == 4
    exported = place.events(run, "exported")[0]
    with tiny.eager_and_short():
        found = ValidationSet(find_speech_of("val"), place.config()).score(model.cascade, model.tables, 1)
    for name, bits in found.bits_per_frame.items():
        assert exported[f"bits_{name.replace(' ', '_')}"] == pytest.approx(bits, rel=0.01)


class TestExport:
    def test_ctrl_c_leaves_its_line_in_the_journal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = Workplace(tmp_path)

        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(loop, "save_model", interrupt)
        with pytest.raises(KeyboardInterrupt):
            place.train(training_mode=1, num_modules=1, time_domain=True, steps_per_epoch=1)
        stopped = place.events(runs.find_run(place.folders()[0].name, place.check), "stopped")
        assert [(line["step"], line["reason"]) for line in stopped] == [(1, "interrupted")]

    def test_a_training_shorter_than_its_tables_spends_less_on_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float] = []

        make = StageTrainer.tables

        def record(trainer: StageTrainer, num_steps: int, minutes: float, *, final: int = 0) -> dict[str, Any]:
            asked.extend([minutes] * bool(final))
            return make(trainer, num_steps, 0.0, final=final)

        monkeypatch.setattr(StageTrainer, "tables", record)
        for steps in (1, 2):  # of the two that tables are made of in tests
            place = Workplace(tmp_path / str(steps))
            options = {"num_modules": 1, "time_domain": True, "steps_per_epoch": steps, "context_minutes": 8.0}
            place.train(training_mode=1, **options)
        assert asked == [4.0, 8.0]


def find_speech_of(split: str) -> list[SpeechFile]:
    return [file for file in find_speech(CORPUS) if file.split == split]


def trained_from(base: Workplace, place: Workplace, **changes: Any) -> runs.Run:
    """A run in a place of its own that starts from the greedy run of another."""
    place.check.mkdir(parents=True)
    (place.check / base.folders()[0].name).symlink_to(base.folders()[0])
    return place.train(**changes)


class TestRunsThatCannotGoOn:
    def test_codes_that_died_stop_the_run_with_plain_words(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "DEATH_INTERVALS", 3)  # readings, to be there sooner
        place = Workplace(tmp_path)
        doomed = place.config(
            training_mode=1,
            num_modules=1,
            time_domain=True,
            coefficients=(60.0, 10.0, 10.0, 1e4),
            tau_controller="original",
            learning_rate=0.01,
            steps_per_epoch=3000,
        )
        with pytest.raises(UserError, match=r"the codes of codec 1 have collapsed to one value by step \d+"):
            modes.train(doomed, {})
        run = runs.find_run(place.folders()[0].name, place.check)
        stopped = place.events(run, "stopped")[0]
        assert "collapsed" in stopped["reason"]
        assert stopped["step"] >= 20 * 3
        assert run.status == "unfinished"

    def test_weights_that_are_not_numbers_stop_the_run_and_keep_the_last_good_checkpoint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = Workplace(tmp_path)
        step = StageTrainer.train_step

        def poisoned(trainer: StageTrainer, contexts: tf.Tensor, epoch: int) -> Any:
            losses = step(trainer, contexts, epoch)
            if int(trainer.step.numpy()) == 6:  # the last step of the second epoch: its loss was still finite
                trainer.variables[0].assign(np.full(trainer.variables[0].shape, np.nan))
            return losses

        monkeypatch.setattr(StageTrainer, "train_step", poisoned)
        with pytest.raises(UserError, match=r"at step 6 .*the checkpoint of step 3 is kept; try a lower learning rate"):
            place.train(training_mode=1, num_modules=1, time_domain=True, epochs=3)
        checkpoints = sorted(path.name for path in place.check.glob("*/checkpoints/first/*.index"))
        assert checkpoints == ["ckpt-3.index"]

        # the same command goes on from there
        monkeypatch.setattr(StageTrainer, "train_step", step)
        run = place.train(training_mode=1, num_modules=1, time_domain=True, epochs=3)
        assert place.events(run, "resumed")[0]["step"] == 3
        assert run.status == "finished"

    def test_a_learning_rate_that_is_far_too_high_is_told(self, tmp_path: Path) -> None:
        place = Workplace(tmp_path)
        with pytest.raises(UserError, match=r"training diverged: .*there is no checkpoint yet"):
            place.train(
                training_mode=1,
                num_modules=1,
                time_domain=True,
                learning_rate=1e20,
                clip_norm=0.0,
                learning_rate_schedule="constant",
                steps_per_epoch=20,
                pretrain_epochs=1,
            )


class TestContinuing:
    def test_a_killed_run_ends_in_the_weights_of_an_uninterrupted_one(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {
            "training_mode": 1,
            "num_modules": 1,
            "steps_per_epoch": 30,
            "epochs": 2,
            "checkpoint_minutes": 0.0,
        }
        killed, whole = Workplace(tmp_path / "killed"), Workplace(tmp_path / "whole")
        killed.root.mkdir()
        process = killed.start(**options)
        try:
            wait_for(lambda: any(killed.check.glob("*/checkpoints/first/checkpoint")), process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

        assert not list(killed.check.glob("*/stages"))
        resumed = modes.train(killed.config(**options), {})
        uninterrupted = modes.train(whole.config(**options), {})

        assert killed.events(resumed, "resumed")[0]["step"] in (20, 30, 40)
        assert resumed.fingerprint == uninterrupted.fingerprint
        ends = [saved_weights(stage_folders(run.folder)["first"]) for run in (resumed, uninterrupted)]
        assert ends[0].keys() == ends[1].keys()
        assert all(np.array_equal(ends[0][name], ends[1][name]) for name in ends[0])
        finals = [
            place.events(run, "exported")[0]["model"] for place, run in ((killed, resumed), (whole, uninterrupted))
        ]
        assert finals[0] == finals[1]

    EIGHT_STEPS: ClassVar[dict[str, Any]] = {"training_mode": 1, "num_modules": 1, "steps_per_epoch": 8, "epochs": 1}

    @pytest.fixture(scope="class")
    def never_stopped(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        """The model of eight steps."""
        whole = Workplace(tmp_path_factory.mktemp("whole"))
        return whole.events(whole.train(**self.EIGHT_STEPS), "exported")[0]["model"]

    @pytest.mark.parametrize(("name", "status"), STOPS)
    def test_a_signal_finishes_the_step_saves_and_goes_on_as_if_never_stopped(
        self, name: str, status: int, never_stopped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stopped, options = Workplace(tmp_path), self.EIGHT_STEPS
        step = StageTrainer.train_step

        def signalled(trainer: StageTrainer, *arguments: Any) -> Any:
            if int(trainer.step.numpy()) == 4:
                signal.raise_signal(signal.Signals[name])
            return step(trainer, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(StageTrainer, "train_step", signalled)
            assert stopped.run(**options) == status
        assert [path.stem for path in stopped.check.glob("*/checkpoints/first/*.index")] == ["ckpt-5"]
        run = stopped.train(**options)
        assert stopped.events(run, "stopped")[0]["step"] == 5
        assert stopped.events(run, "resumed")[0]["step"] == 5
        assert stopped.events(run, "exported")[0]["model"] == never_stopped

    def test_another_spelling_of_the_speech_folder_is_the_same_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = Workplace(tmp_path)
        options: dict[str, Any] = {"training_mode": 1, "num_modules": 1, "time_domain": True}
        first = place.train(**options)
        (tmp_path / "link").symlink_to(CORPUS)
        monkeypatch.chdir(CORPUS.parent)
        for spelling in (CORPUS.name, f"./{CORPUS.name}/", f"../{CORPUS.parent.name}/{CORPUS.name}", tmp_path / "link"):
            assert place.train(**options, data_dir=str(spelling)).id == first.id

    def test_a_change_of_threads_is_announced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = Workplace(tmp_path)
        options: dict[str, Any] = {"training_mode": 1, "num_modules": 1, "time_domain": True, "epochs": 2}

        def interrupt(trainer: StageTrainer) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(StageTrainer, "save", interrupt)
            with pytest.raises(KeyboardInterrupt):
                place.train(**options)
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        run = place.train(**options)
        assert any("OMP_NUM_THREADS" in event["what"] for event in place.events(run, "changed"))


class TestDeterminism:
    @pytest.fixture(autouse=True)
    def nondeterministic_again(self) -> Iterator[None]:
        yield
        framework_config.disable_op_determinism()

    def exported(self, place: Workplace, seed: int) -> bytes:
        options: dict[str, Any] = {"training_mode": 1, "num_modules": 1, "seed": seed}
        assert place.run("--deterministic", **options) == 0
        assert framework_config.is_op_determinism_enabled()
        (folder,) = place.folders()
        assert json.loads((folder / "environment.json").read_text())["deterministic"] is True
        return (folder / "stages" / "first" / "model.npz").read_bytes()

    def test_two_runs_export_the_same_bytes_and_another_seed_others(self, tmp_path: Path) -> None:
        first, second, other = (
            self.exported(Workplace(tmp_path / name), seed)
            for name, seed in (("first", 0), ("second", 0), ("other", 1))
        )
        assert first == second
        assert first != other

    def test_a_run_that_goes_on_without_it_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = Workplace(tmp_path)
        options: dict[str, Any] = {"training_mode": 1, "num_modules": 1, "time_domain": True}

        def interrupt(trainer: StageTrainer) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(StageTrainer, "save", interrupt)
            assert place.run("--deterministic", **options) == 130
        assert place.run(**options) == 0
        (folder,) = place.folders()
        lines = Journal.read(place.doc / f"{folder.name}.jsonl")
        assert any("deterministic was True" in line["what"] for line in lines if line["event"] == "changed")


def test_a_small_run_ends_within_five_percent_of_its_target_rate(tmp_path: Path) -> None:
    # Two clips of the training voices as validation: a network this small knows no other voice.
    rows = [line.split(",")[:3] for line in (CORPUS / "manifest.csv").read_text().splitlines()[1:]]
    held_out = ("allison/es-vm-theperson.flac", "june/fr-queue-callswaiting.flac")
    lines = [
        f"{CORPUS}/{path},{speaker}-2,val" if path in held_out else f"{CORPUS}/{path},{speaker},train"
        for path, speaker, _ in rows
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,speaker,split", *lines]) + "\n")
    place = Workplace(tmp_path)
    options: dict[str, Any] = {
        "batch_size": 16,
        "steps_per_epoch": 100,
        "epochs": 10,
        "learning_rate": 2e-3,
    }

    run = modes.train(
        place.config(
            training_mode=1, num_modules=1, target_kbps=16.0, validation_files=2, data_dir=str(tmp_path), **options
        ),
        {},
    )

    assert place.events(run, "exported")[0]["kbps"] == pytest.approx(16.0, rel=0.05)
    last = place.events(run, "step")[-1]
    assert last["target_kbps"] == pytest.approx(16.0, rel=0.01)  # it leaves out the gain
    assert last["tau"] != 0


def test_tensorboard_gets_scores_sound_and_spectrograms_of_every_validation(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    run = place.train(training_mode=1, num_modules=1, time_domain=True, epochs=2, tensorboard=True)

    events = EventAccumulator(str(run.folder / "tensorboard" / "first")).Reload()
    assert {"validation/pesq_wb", "validation/kbps", "reference", "depth 1"} <= set(events.Tags()["tensors"])
    assert [event.step for event in events.Tensors("validation/kbps")] == [3, 6]
    shown = [tf.make_ndarray(event.tensor_proto).item() for event in events.Tensors("validation/kbps")]
    journal = [event["kbps"] for event in place.events(run, "validated")]
    assert shown == pytest.approx(journal)


class TestWhatTheFirstImplementationDidOtherwise:
    """Each default that differs, and that its flag gives the original's way."""

    def test_the_learning_rate_falls_by_a_cosine_or_stays(self, trainer_of: MakeTrainer) -> None:
        options = {"learning_rate": 0.01, "epochs": 4}
        falling, constant = (trainer_of(learning_rate_schedule=kind, **options) for kind in ("cosine", "constant"))
        rates = [float(falling.optimizer._learning_rate(step)) for step in (0, 6, 12)]
        assert rates == pytest.approx([0.01, 0.005, 0.0], abs=1e-6)
        assert float(constant.optimizer.learning_rate) == pytest.approx(0.01)

    @pytest.mark.parametrize("norm", [0.0, 0.5])
    def test_a_gradient_is_clipped_to_the_norm_of_the_flag(
        self, norm: float, trainer_of: MakeTrainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer = trainer_of(clip_norm=norm, time_domain=True)
        ones = [tf.ones(variable.shape) for variable in trainer.variables]
        monkeypatch.setattr(trainer, "_dense", lambda gradients: ones)
        take_steps(trainer, 1)
        moments = [each.numpy().ravel() for each in trainer.optimizer.variables if "momentum" in each.path]
        moments += [each.numpy().ravel() for each in trainer.codebook_optimizer.variables if "momentum" in each.path]
        found = 10 * np.linalg.norm(np.concatenate(moments))  # a first moment is a tenth of the first gradient
        whole = math.sqrt(sum(int(np.prod(variable.shape)) for variable in trainer.variables))
        assert found == pytest.approx(norm or whole, rel=1e-3)

    def test_without_averaging_the_last_weights_are_validated_and_exported(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(ema_decay=0.0)
        take_steps(trainer, 2)
        weights = values(trainer.cascade.codecs[0])
        with trainer.average.applied():
            assert share_moved(trainer.cascade.codecs[0], weights) == 0

    @pytest.mark.parametrize("warm_up", [0, 1])
    def test_an_added_codec_has_a_warm_up_without_its_quantiser_unless_the_flag_says_0(
        self, warm_up: int, trainer_of: MakeTrainer
    ) -> None:
        trainer = trainer_of(stage=1, num_modules=2, follower_pretrain_epochs=warm_up, follower_epochs=(2, 1))
        bins = trainer.cascade.codecs[1].quantizer.codebook
        before = bins.numpy()

        def paid_for_codes(count: int) -> list[bool]:
            losses = take_steps(trainer, count)
            return [terms["total"] > 60 * terms["time"] + 10 * terms["mel"] + 1 for terms in losses]

        assert paid_for_codes(3) == [not warm_up] * 3
        assert np.array_equal(bins.numpy(), before) == bool(warm_up)
        assert paid_for_codes(1) == [True]
        assert not np.array_equal(bins.numpy(), before)

    def test_lsf_levels_learn_from_the_distortion_alone(self, trainer_of: MakeTrainer) -> None:
        """Neither penalty nor entropy counts: the gradient came through both filters."""
        for is_cq in (True, False):
            options: dict[str, Any] = {"lsf_terms": False, "coefficients": (60.0, 10.0, 0.0, 0.0)}
            trainer = trainer_of(train_lsf_codebook=is_cq, **options)
            levels = trainer.cascade.front_end.quantizer.codebook
            before = levels.numpy()
            take_steps(trainer, 2)
            assert np.array_equal(levels.numpy(), before) == (not is_cq)

    def test_every_epoch_trains(self, trainer_of: MakeTrainer) -> None:
        """None is spent on computing the residual anew: not each tenth, nor the third from the end."""
        trainer = trainer_of(epochs=12, steps_per_epoch=1, learning_rate_schedule="constant")
        kernel = trainer.cascade.codecs[0].encoder.trainable_variables[0]
        before, moved = kernel.numpy(), []
        for epoch, contexts in trainer.batches():
            trainer.train_step(contexts, epoch)
            moved.append(not np.array_equal(kernel.numpy(), before))
            before = kernel.numpy()
        assert moved == [True] * 12

    def test_an_epoch_is_a_pass_over_all_speech_unless_the_flag_shortens_it(
        self, trainer_of: MakeTrainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the original's bounds of 500,000 frames, and of 2,500 batches without LPC."""
        monkeypatch.setattr(PackedCorpus, "num_training_frames", lambda corpus, consecutive=1: 640_000)
        for time_domain in (False, True):
            options: dict[str, Any] = {"time_domain": time_domain, "batch_size": 128}
            assert trainer_of(steps_per_epoch=0, **options).total_steps == 5000
            assert trainer_of(steps_per_epoch=2500, **options).total_steps == 2500

    def test_tau_waits_for_the_end_of_the_warm_up(self, tmp_path: Path) -> None:
        place = Workplace(tmp_path)
        options: dict[str, Any] = {"epochs": 4, "pretrain_epochs": 2, "steps_per_epoch": 1, "time_domain": True}
        coefficients = (60.0, 10.0, 10.0, 0.1)
        run = place.train(
            training_mode=1, num_modules=1, tau_controller="original", coefficients=coefficients, **options
        )
        taus = [event["tau"] for event in place.events(run, "step")]
        assert taus[:3] == pytest.approx([0.1] * 3, abs=1e-6)
        assert abs(taus[3] - 0.1) == pytest.approx(0.015, abs=1e-6)

    def test_the_end_of_the_warm_up_keeps_adam_s_moments(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(pretrain_epochs=1, epochs=2)
        take_steps(trainer, 3)
        moment = next(each for each in trainer.optimizer.variables if "momentum" in each.path)
        moment.assign(tf.fill(moment.shape, 1e6))
        take_steps(trainer, 1)  # the first one with quantisers
        np.testing.assert_allclose(moment.numpy(), 0.9e6, rtol=0.01)
        assert int(trainer.optimizer.iterations.numpy()) == 4

    @pytest.mark.parametrize("gradient", ["soft", "straight_through"])
    def test_training_moves_alpha_where_mixtures_have_to_grow_hard(
        self, gradient: str, trainer_of: MakeTrainer
    ) -> None:
        trainer = trainer_of(quantizer_gradient=gradient, learning_rate=0.01)
        alphas = [trainer.cascade.front_end.quantizer.alpha, trainer.cascade.codecs[0].quantizer.alpha]
        before = [float(alpha) for alpha in alphas]
        take_steps(trainer, 3)
        after = [trainer.cascade.front_end.quantizer.alpha, trainer.cascade.codecs[0].quantizer.alpha]
        moved = [abs(float(new) / old - 1) > 1e-4 for new, old in zip(after, before, strict=True)]
        assert moved == [gradient == "soft"] * 2

    def test_epsilon_of_adam_is_a_flag(self, trainer_of: MakeTrainer) -> None:
        """The first step is a whole rate, and half of it where epsilon is the root of the second moment."""
        for epsilon, expected in ((1e-7, 1.0), (math.sqrt(1 - 0.999), 0.5)):
            variable = tf.keras.Variable([0.0])
            optimizer = FusedAdam(0.1, epsilon)
            optimizer.build([variable])
            optimizer.step([tf.constant([1.0])], [variable])
            assert -variable.numpy()[0] / 0.1 == pytest.approx(expected, rel=1e-3)
        assert trainer_of(adam_epsilon=1e-3).optimizer.epsilon == 1e-3

    def test_validation_hears_as_many_files_of_validation_speakers_as_the_flag_says(self) -> None:
        files = [file for file in find_speech(CORPUS) if file.split == "train"]
        assert len(ValidationSet(files, tiny.config(validation_files=3)).signals) == 3
        assert len(ValidationSet(files[:2], tiny.config(validation_files=100)).signals) == 2

    def test_validation_of_short_files_takes_their_rate_from_more_of_them(
        self, coding_model: SavedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = [file for file in find_speech(CORPUS) if file.split == "train"]
        monkeypatch.setattr(validation, "LONGEST", SAMPLE_RATE)
        monkeypatch.setattr(validation, "RATED", 4 * SAMPLE_RATE)
        wide = ValidationSet(files, tiny.config(validation_files=2))
        assert [len(signal) for signal in [*wide.signals, *wide.others]] == [SAMPLE_RATE] * 4
        assert len(wide.signals) == 2
        assert len({signal.tobytes() for signal in [*wide.signals, *wide.others]}) == 4
        found = wide.score(coding_model.cascade, coding_model.tables, 1)
        coded = [encode(signal, coding_model.coding) for signal in [*wide.signals, *wide.others]]
        sizes = [len(truncate(data, 1)) for data in coded]
        assert found.kbps[0] == pytest.approx(8 * sum(sizes) / 4000)
        monkeypatch.setattr(validation, "RATED", 0)
        narrow = ValidationSet(files, tiny.config(validation_files=2))
        assert not narrow.others
        alone = narrow.score(coding_model.cascade, coding_model.tables, 1)
        assert alone.measures == found.measures
        assert alone.bits_per_frame != found.bits_per_frame


class TestParts:
    def test_the_fused_optimiser_takes_the_steps_of_keras(self) -> None:
        start, rate = np.linspace(-1, 1, 5, dtype=np.float32), keras.optimizers.schedules.CosineDecay(0.1, 4)
        fused, plain = tf.keras.Variable(start), tf.keras.Variable(start)
        optimizer, reference = FusedAdam(rate), keras.optimizers.Adam(rate)
        optimizer.build([fused])
        for step in range(4):
            gradient = tf.constant(np.cos(step + start))
            optimizer.step([gradient], [fused])
            reference.apply([gradient], [plain])
        assert not np.allclose(fused.numpy(), start, atol=0.1)
        np.testing.assert_allclose(fused.numpy(), plain.numpy(), rtol=1e-5)
        for found, expected in zip(optimizer.variables, reference.variables, strict=True):
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4)

    def test_the_young_average_follows_faster_than_the_old_one(self) -> None:
        variable = tf.keras.Variable([1.0])
        average = WeightAverage([variable], 0.999)
        variable.assign([2.0])
        average.update(tf.constant(0))
        assert average.averages[0].numpy() == pytest.approx([1.9])  # decay (1 + 0) / (10 + 0)
        average.update(tf.constant(1_000_000))
        assert average.averages[0].numpy() == pytest.approx([0.999 * 1.9 + 0.001 * 2.0])

    def test_weights_come_back_after_their_averages_were_applied(self) -> None:
        variable = tf.keras.Variable([1.0])
        average = WeightAverage([variable], 0.9)
        variable.assign([3.0])
        with pytest.raises(RuntimeError), average.applied():
            assert variable.numpy() == [1.0]
            raise RuntimeError
        assert variable.numpy() == [3.0]

    def test_tables_are_probabilities_of_every_part(self, trainer_of: MakeTrainer) -> None:
        tables = trainer_of().tables(1, 0.0)
        assert {name: table.shape for name, table in tables.items()} == {"lpc": (16, 256), "codec 1": (16, 32)}
        for table in tables.values():
            assert table.min() >= 1
            assert (table.sum(axis=1) == 65536).all()

    def test_context_tables_are_a_model_of_every_part_in_use(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(num_modules=2)
        tables = trainer.tables(1, 0.05)
        models = read_models(tables)
        assert {name: model.radius for name, model in models.items()} == {"lpc": 2, "codec 1": 4}
        assert trainer.tables(1, 0.0).keys() == {"lpc", "codec 1"}

    def test_the_closed_loop_moves_tau_every_twenty_steps_only(self, trainer_of: MakeTrainer) -> None:
        trainer = trainer_of(time_domain=True, target_entropy=1.0)
        (epoch, contexts), *_ = trainer.batches()
        losses = trainer.train_step(contexts, epoch)
        watch = Watch(trainer)
        watch.read(losses, step=3, warm_up=False)
        assert float(trainer.controller.tau[0]) == 0
        watch.read(losses, step=20, warm_up=True)
        assert float(trainer.controller.tau[0]) == 0
        watch.read(losses, step=20, warm_up=False)
        assert float(trainer.controller.tau[0]) > 0

    def test_stages_without_steps_do_not_exist(self) -> None:
        stages = stages_of(tiny.config(num_modules=3, training_mode=4, follower_epochs=(5, 3)))
        assert [(stage.name, stage.epochs) for stage in stages] == [("first", 1), ("follower_2", 5), ("follower_3", 5)]
        assert all(isinstance(stage, Stage) for stage in stages)
