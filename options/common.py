"""Options of a run, whatever kind of network it trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from constants import LPC_ORDER, LSF_CODEBOOK_SIZE
from kinds import CHOICES, NETWORKS
from options.option import extended, option, require

ENHANCER, CONCEALMENT = "enhancer", "concealment"  # parts that mode 5 adds to a frozen codec, by a width each
FINETUNED = ("all", ENHANCER, CONCEALMENT)  # what mode 5 trains


@dataclass(frozen=True)
class CommonOptions:
    """What decides a run. Fields have plain names; the owner's flags keep their spelling outside."""

    training_mode: int = option(
        4,
        "0 evaluate, 1 first codec, 2 followers on a saved first codec, 3 and 4 first codec and followers, 5 finetune",
        choices=(0, 1, 2, 3, 4, 5),
        heading="What to do",
    )
    base_model_id: str = option(
        "", "saved model for modes 0, 2 and 5: unique prefix of its id; empty: the newest finished one"
    )
    from_where_step: int = option(
        0,
        "stage of the saved model: mode 5: 2 greedy, 3 finetuned; mode 0: 1 greedy, 2 finetuned; 0: the latest, "
        "in mode 5 without base_model_id the latest greedy one",
    )
    original_modes: bool = option(
        False,
        "1: modes 3 and 5 as in April 2020: mode 3 trains the first codec alone, mode 5 finetunes scalar codecs without"
        " LPC only",
    )
    suffix: str = option("", "part of the name of the run's folder and journal")
    name_mark: str = option("", "part of the name of the run's folder and journal", flag="save_unique_mark")
    new: bool = option(False, "1: start afresh even if the same run exists", identity=False)
    seed: int = option(0, "seed of the weights, of the order of data and of the choice of validation speakers")

    data_dir: str = option(
        "data/sample_speech",
        "TIMIT tree, folder with manifest.csv, a folder per speaker, or a packed corpus",
        heading="Data",
    )
    sa_sentences: bool = option(True, "TIMIT: use the SA sentences, which all speakers read")

    train_lsf_codebook: bool = option(
        True,
        "1: collaborative quantization, the LSF codebook is trained with the codecs",
        flag="is_cq",
        heading="Signal chain",
    )
    pre_emphasis: bool = option(True, "1: filter 1 - 0.68 z^-1 before coding, undone after", network=True)
    lsf_levels: int = option(
        LSF_CODEBOOK_SIZE, "levels of the LSF codebook, as many for each coefficient at the start", network=True
    )
    lsf_spacing: float = option(0.02, "smallest distance of neighbouring decoded LSFs, radians", network=True)
    lsf_alpha_start: float = option(
        -300.0, "softmax scale of the soft assignment of LSFs, whose levels lie close together", sign=-1
    )

    num_modules: int = option(
        2, "number of neural codecs in the cascade", flag="num_resnets", network=True, heading="Networks", sign=1
    )
    block: str = option(
        "gln",
        "network: gated linear blocks, bottleneck blocks, gated blocks on samples folded into channels, or on the "
        "lapped spectrum",
        flag="resnet_type",
        choices=CHOICES,
        network=True,
    )
    fold: int = option(
        16,
        "samples, or bins of a spectrum, folded into channels (folded, spectral)",
        network=True,
        networks=("folded", *NETWORKS["spectral"]),
        sign=1,
    )

    coefficients: tuple[float, ...] = option(
        (60.0, 10.0, 10.0, 0.0),
        "weights of time loss, mel loss, quantisation penalty; initial tau",
        flag="coeff_term",
        heading="Losses and rate",
    )
    loudness_weight: float = option(0.0, "weight of the loss on loudness in Bark bands; 0: none, as the original")
    consecutive_frames: int = option(
        1,
        "neighbouring frames that a batch holds at a time: one signal for spectral networks and the loss on loudness",
    )
    finetuned: str = option(
        "all",
        "finetuning: of the whole model, or of its enhancer or its concealment of losses alone behind the frozen codec",
        choices=FINETUNED,
        networks=NETWORKS["spectral"],
    )
    layer_loss: float = option(1.0, "finetuning: weight of the losses of shallower depths, 0 to 1")
    target_entropy: float = option(2.2, "bits per symbol that tau steers to", sign=1)
    target_entropy_per_module: tuple[float, ...] = option((), "bits per symbol of each module; empty: target_entropy")
    target_kbps: float = option(0.0, "bitrate of all parts, 1000 bits per second, instead of target_entropy; 0: unused")
    budget: str = option(
        "auto",
        "joint: one tau on the bits of LPC, gain and all codecs together; modules: one for each; auto: joint where"
        " networks are spectral",
        choices=("auto", "joint", "modules"),
    )

    learning_rate: float = option(
        2e-4, "learning rate of the first codec", flag="learning_rate_tanh", heading="Training", sign=1
    )
    follower_learning_rates: tuple[float, ...] = option(
        (2e-5, 2e-6), "learning rates of the added codecs, then of finetuning", flag="learning_rate_greedy_followers"
    )
    epochs: int = option(200, "epochs of the first codec, each steps_per_epoch steps", flag="epoch_tanh", sign=1)
    follower_epochs: tuple[int, ...] = option(
        (50, 50), "epochs of the added codecs, then of finetuning", flag="epoch_greedy_followers"
    )
    steps_per_epoch: int = option(0, "steps in an epoch; 0: a pass over the corpus")
    batch_size: int = option(128, "frames per step", sign=1)
    precision: str = option(
        "float32",
        "arithmetic of the networks in training; weights, LPC, quantisers and losses, and all that a saved model does, "
        "stay float32",
        choices=("float32", "bfloat16"),
    )
    pretrain_epochs: int = option(2, "first epochs of the first codec without quantisers", flag="pretrain_step")
    follower_pretrain_epochs: int = option(1, "first epochs of every added codec without its quantiser, never the last")
    codebook_learning_rate: float = option(
        0.01, "learning rate of bins and LSF levels as a share of the networks', since Adam's steps know no scale"
    )
    learning_rate_schedule: str = option(
        "cosine", "how the learning rate falls over each stage", choices=("cosine", "constant")
    )
    clip_norm: float = option(1.0, "largest global norm of a step's gradient; 0: unlimited")
    adam_epsilon: float = option(1e-7, "Adam's epsilon; the original: 1e-8", sign=1)
    ema_decay: float = option(0.999, "averaging of the weights that are validated and exported; 0: none")
    validation_files: int = option(8, "files scored after each epoch", sign=1)
    context_minutes: float = option(
        5.0,
        "minutes of training speech from which the saved model's contexts of symbols are estimated, a fifth of them at "
        "each validation; 0: one probability table per channel",
    )
    checkpoint_minutes: float = option(2.0, "minutes between checkpoints", identity=False)
    tensorboard: bool = option(True, "1: scalars, audio and spectrograms for TensorBoard", identity=False)

    cache_dir: str = option(
        "data/packed", "decoded corpora, safe to delete", identity=False, heading="Places and machine"
    )
    check_dir: str = option("check", "models", identity=False)
    doc_dir: str = option("doc", "journals", identity=False)
    output_dir: str = option("end2end_performance", "scores and decoded test files", identity=False)
    rates: tuple[float, ...] = option(
        (),
        "mode 0: kbps at which files are coded, such as '6 9 12 16 24', for models of any rate; empty: the model's own",
        identity=False,
    )
    max_files: int = option(0, "mode 0: largest number of test files; 0: all", identity=False)
    threads: int = option(0, "threads within an operation; 0: TensorFlow's choice", identity=False)
    deterministic: bool = option(
        False,
        "1: only operations that give the same bits in every run; on a processor they do so anyway, on a GPU this is "
        "slower; an op without a deterministic kernel raises an error",
        identity=False,
    )
    tf32: bool = option(
        False,
        "1: a GPU may round the factors of float32 products to 10 bits (TensorFloat-32), which is faster",
        identity=False,
    )
    xla: bool = option(
        False, "1: XLA compiles clusters of operations, on a GPU into fewer and larger kernels", identity=False
    )
    distribute: str = option(
        "none",
        "data parallelism: none, across local GPUs, or across the hosts in TF_CONFIG",
        choices=("none", "mirrored", "multiworker"),
        identity=False,
    )

    def of_modules(self, name: str) -> tuple[Any, ...]:
        """The value of an option for every module; a short list goes on with its last one."""
        return extended(getattr(self, name), self.num_modules)

    def by_module(self) -> dict[str, Any]:
        """`of_modules` of every option that modules have a value each of, by its field's name."""
        return {field.name: self.of_modules(field.name) for field in fields(self) if field.metadata["by_module"]}

    def follower_setting(self, values: Sequence[float], module: int | None) -> float:
        """The value for follower `module` (1 is the first one), or for finetuning with None: the last."""
        if module is None:
            return values[-1]
        followers = values[:-1] or values
        return extended(tuple(followers), self.num_modules)[module - 1]


def check(config: CommonOptions) -> None:
    """Raises UserError where values are out of range or do not fit together."""
    for name in ("follower_learning_rates", "follower_epochs"):
        values = getattr(config, name)
        positive = len(values) > 0 and all(0 < value < math.inf for value in values)
        require(positive, config, name, "at least one number, each above 0")
    require(config.seed < 2**32, config, "seed", "a whole number below 2^32")
    require(config.ema_decay < 1, config, "ema_decay", "a number from 0 to below 1")
    require(config.lsf_spacing <= 0.1, config, "lsf_spacing", "0 to 0.1 radians")
    levels = config.lsf_levels
    fits = 2 * LPC_ORDER <= levels <= LSF_CODEBOOK_SIZE and levels % LPC_ORDER == 0
    require(fits, config, "lsf_levels", f"a multiple of {LPC_ORDER} from {2 * LPC_ORDER} to {LSF_CODEBOOK_SIZE}")
    run, size = config.consecutive_frames, config.batch_size
    fits = run > 0 and size % run == 0
    require(fits, config, "batch_size", f"a multiple of --consecutive_frames {run}, at least {run}")
    positive = all(0 < each < math.inf for each in config.rates)
    require(positive, config, "rates", "numbers above 0 such as '6 9 12'")
    trains = config.training_mode > 0
    require(trains or config.distribute == "none", config, "distribute", "none in mode 0, which trains nothing")
    weights = config.coefficients
    four = len(weights) == 4 and all(map(math.isfinite, weights)) and min(weights[:3]) >= 0
    require(four, config, "coefficients", "four numbers such as '60 10 10 0', the first three at least 0")
    targets = config.target_entropy_per_module
    fits = len(targets) in (0, config.num_modules) and all(0 < target < math.inf for target in targets)
    modules = f"{config.num_modules} (--num_resnets)"
    require(fits, config, "target_entropy_per_module", f"one number above 0 for each of {modules} modules")
