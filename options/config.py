"""Typed configuration, through which flags, experiment files and saved models all pass."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from constants import LPC_ORDER, LSF_CODEBOOK_SIZE
from kinds import CHOICES, NETWORKS, check_of_kind, name_of_kind
from nsc.console import Parser
from nsc.errors import UserError
from nsc.format import version_3

PROGRAM = "main.py"
MAY_BE_NEGATIVE = ("alpha_start", "vector_alpha_start", "lsf_alpha_start")
ABOVE_ZERO = (
    "num_modules",
    "res_scalar",
    "time_domain_scale",
    "gated_kernel",
    "end_kernel",
    "fold",
    "hop",
    "step_power",
    "step_start",
    "folded_width",
    "folded_narrow",
    "folded_blocks",
    "folded_kernel",
    "target_entropy",
    "learning_rate",
    "epochs",
    "batch_size",
    "adam_epsilon",
    "validation_files",
)
FRESH = (1, 3, 4)  # modes that start without a saved model
MOST_SHOWN = 80  # characters of a wrong value in a message
COMMAND_LINE = "command line"  # where flags come from, as opposed to files
BARE = ("new", "deterministic")
ENHANCER = "enhancer"
FINETUNED = ("all", ENHANCER)  # what mode 5 trains
SAMPLES, SPECTRAL = NETWORKS["samples"], "spectral"
WINDOWS = ("sine", "kbd", "low_overlap")  # of the lapped transform
# Flags of the first implementation that never had an effect.
IGNORED = {"window_size": "no effect, as in the first implementation: frames are 512 samples"}
QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.toml"


def option(
    default: Any,
    help_text: str,
    *,
    flag: str | None = None,
    choices: Sequence[Any] | None = None,
    network: bool = False,
    identity: bool = True,
    heading: str | None = None,
    networks: Sequence[str] = (),
) -> Any:
    """A field of `Config` with all that the command line needs to know about it.

    Args:
        default: value without a flag.
        help_text: meaning and unit, for `--help`.
        flag: spelling on the command line and in experiment files, where it differs from the field's name.
        choices: the allowed values, where they are few.
        network: part of the model itself: a saved model's value wins over a flag.
        identity: takes part in the run's id; paths and displays do not.
        heading: begins a group of options in `--help`.
        networks: the values of `block` under which anything reads it; none for all. To other kinds it is unknown.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help_text,
            "flag": flag,
            "choices": choices,
            "network": network,
            "identity": identity,
            "heading": heading,
            "networks": networks,
        },
    )


@dataclass(frozen=True)
class Config:
    """Everything that decides a run. Fields have plain names; the owner's flags keep their spelling outside."""

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
    gain: str = option(
        "group",
        "one gain per 16 frames, or per utterance",
        choices=("group", "utterance"),
        network=True,
        networks=SAMPLES,
    )
    gain_augmentation_db: float = option(3.0, "random level of training frames, +- dB", networks=SAMPLES)

    time_domain: bool = option(
        False,
        "1: no LPC, the codecs code the waveform",
        flag="is_pure_time_domain",
        network=True,
        heading="Signal chain",
        networks=SAMPLES,
    )
    train_lsf_codebook: bool = option(
        True, "1: collaborative quantization, the LSF codebook is trained with the codecs", flag="is_cq"
    )
    pre_emphasis: bool = option(True, "1: filter 1 - 0.68 z^-1 before coding, undone after", network=True)
    high_pass: bool = option(
        False, "1: 50 Hz second-order high-pass before coding, never undone", network=True, networks=SAMPLES
    )
    residual: str = option(
        "frame",
        "LPC residual: whole frame from zero state, with square-root fades, or the original's sub-frames",
        choices=("frame", "taper", "subframe"),
        network=True,
        networks=SAMPLES,
    )
    bandwidth_expansion: float = option(
        1.0,
        "gamma of A(z/gamma), which gives the residual and shapes its noise; 1: A(z) itself",
        network=True,
        networks=SAMPLES,
    )
    lsf_levels: int = option(
        LSF_CODEBOOK_SIZE, "levels of the LSF codebook, as many for each coefficient at the start", network=True
    )
    lsf_spacing: float = option(0.02, "smallest distance of neighbouring decoded LSFs, radians", network=True)

    num_modules: int = option(
        2, "number of neural codecs in the cascade", flag="num_resnets", network=True, heading="Networks"
    )
    block: str = option(
        "gln",
        "network: gated linear blocks, bottleneck blocks, gated blocks on samples folded into channels, or on the "
        "lapped spectrum",
        flag="resnet_type",
        choices=CHOICES,
        network=True,
    )
    shape: tuple[int, ...] = option(
        (9, 9, 100, 20, 1, 2),
        "dilated-neck kernel, outer kernel, wide channels, narrow channels, then a dilation per residual block",
        flag="bottleneck_kernel_and_dilation",
        network=True,
        networks=SAMPLES,
    )
    gated_kernel: int = option(15, "kernel of the two gated convolutions (gln)", network=True, networks=("gln",))
    end_kernel: int = option(
        55,
        "kernel of the first, code and last convolution (gln, bottleneck)",
        network=True,
        networks=("gln", "bottleneck"),
    )
    fold: int = option(
        16,
        "samples, or bins of a spectrum, folded into channels (folded, spectral)",
        network=True,
        networks=("folded", SPECTRAL),
    )
    folded_width: int = option(144, "wide channels (folded)", network=True, networks=("folded",))
    folded_narrow: int = option(64, "narrow channels (folded)", network=True, networks=("folded",))
    folded_blocks: int = option(
        3, "residual blocks in encoder and decoder each (folded)", network=True, networks=("folded",)
    )
    folded_kernel: int = option(5, "kernel of the two gated convolutions (folded)", network=True, networks=("folded",))
    film_units: int = option(
        0,
        "hidden units by which the LPC envelope scales and shifts every layer's channels (folded); 0: none",
        network=True,
        networks=("folded",),
    )
    hop: int = option(320, "new samples of a spectrum, and its bins (spectral)", network=True, networks=(SPECTRAL,))
    spectra_per_frame: int = option(
        2,
        "spectra that share one set of LSFs (spectral)",
        choices=version_3.SPECTRA_PER_FRAME,
        network=True,
        networks=(SPECTRAL,),
    )
    mdct_window: str = option(
        "sine", "window of the transform (spectral)", choices=WINDOWS, network=True, networks=(SPECTRAL,)
    )
    spectral_width: tuple[int, ...] = option(
        (96,), "wide channels of each module (spectral)", network=True, networks=(SPECTRAL,)
    )
    spectral_narrow: tuple[int, ...] = option(
        (48,), "narrow channels of each module (spectral)", network=True, networks=(SPECTRAL,)
    )
    spectral_blocks: tuple[int, ...] = option(
        (3,),
        "residual blocks in encoder and decoder each, of each module (spectral)",
        network=True,
        networks=(SPECTRAL,),
    )
    look_ahead: int = option(
        0, "spectra of the future that encoders see, 0 or 1 (spectral)", network=True, networks=(SPECTRAL,)
    )
    enhancer_width: int = option(
        0,
        "channels of the enhancer of decoded speech along its pitch; 0: none (spectral)",
        network=True,
        networks=(SPECTRAL,),
    )
    step_power: float = option(
        0.7,
        "power of the envelope that the quantiser's step follows, before training corrects it (spectral)",
        networks=(SPECTRAL,),
    )
    step_start: float = option(
        0.6, "step size at the start, relative to the envelope at unit level (spectral)", networks=(SPECTRAL,)
    )
    rdo_lambda: float = option(
        0.0,
        "squared error, in units of the step, that a bit is worth where a model's encoder chooses between the nearest "
        "bin and the one below; 0: always the nearest (spectral)",
        network=True,
        networks=(SPECTRAL,),
    )
    noise_fill: bool = option(
        False, "decoders add noise, as loud as their network says (spectral)", network=True, networks=(SPECTRAL,)
    )
    strides: tuple[int, ...] = option(
        (2,),
        "down-sampling of each module, 2 or 4: 256 or 128 codes per frame",
        flag="the_strides",
        network=True,
        networks=SAMPLES,
    )
    res_scalar: float = option(
        1.0, "scales every codec's input and, inversely, its output", network=True, networks=SAMPLES
    )
    time_domain_scale: float = option(
        1.0,
        "without LPC, levelled speech is divided by it before codecs and losses; the original: 33.46",
        network=True,
        networks=SAMPLES,
    )

    quantizer: tuple[str, ...] = option(
        ("scalar",),
        "kind of each module's quantiser, such as 'vector scalar'",
        choices=("scalar", "vector"),
        network=True,
        heading="Quantisers",
        networks=SAMPLES,
    )
    bins: tuple[int, ...] = option(
        (32, 32),
        "scalar quantisation bins of each module",
        flag="num_bins_for_follower",
        network=True,
        networks=SAMPLES,
    )
    mu_law: bool = option(
        False, "1: mu-law companding of the code before the quantiser (mu 63)", network=True, networks=SAMPLES
    )
    alpha_start: float = option(
        -50.0, "softmax scale of the codes' soft assignment, trained in the soft mode only", networks=SAMPLES
    )
    vector_alpha_start: float = option(
        -500.0,
        "the same for vectors on the original's grid, whose entries lie 0.2/31 apart; scaled with other starts",
        networks=SAMPLES,
    )
    lsf_alpha_start: float = option(-300.0, "the same for the LSFs, whose levels lie closer together")
    vector_start: str = option(
        "data",
        "codebook of vectors: k-means of the codes at the end of the warm-up, or the original's grid, which knows no"
        " warm-up",
        choices=("data", "grid"),
        networks=SAMPLES,
    )
    frozen_codecs: str = option(
        "hard",
        "followers are trained on hard decisions of the earlier codecs, or on the original's soft mixtures",
        choices=("hard", "soft"),
        networks=SAMPLES,
    )
    quantizer_gradient: str = option(
        "straight_through",
        "training decodes hard decisions with a straight-through gradient, or the original's soft mixture",
        choices=("straight_through", "soft"),
        networks=SAMPLES,
    )

    coefficients: tuple[float, ...] = option(
        (60.0, 10.0, 10.0, 0.0),
        "weights of time loss, mel loss, quantisation penalty; initial tau",
        flag="coeff_term",
        heading="Losses and rate",
    )
    loudness_weight: float = option(0.0, "weight of the loss on loudness in Bark bands; 0: none, as the original")
    disturbance_weight: float = option(
        0.0, "weight of the loss on the disturbance of P.862 over the stretch; 0: none (spectral)", networks=(SPECTRAL,)
    )
    level_weight: float = option(
        0.0,
        "weight of the loss on the levels of octave bands, squared decibels; 0: none (spectral)",
        networks=(SPECTRAL,),
    )
    short_window_weight: float = option(
        0.0,
        "weight of the loss on energies of bands in windows of 4 and 10 ms; 0: none (spectral)",
        networks=(SPECTRAL,),
    )
    consecutive_frames: int = option(
        1,
        "neighbouring frames that a batch holds at a time: one signal for spectral networks and the loss on loudness",
    )
    loss_domain: str = option(
        "speech", "signal that the losses compare", choices=("speech", "residual"), networks=SAMPLES
    )
    loss_after_de_emphasis: bool = option(False, "1: losses on speech after de-emphasis of the frame", networks=SAMPLES)
    finetuned: str = option(
        "all",
        "finetuning: of the whole model, or of its enhancer alone behind the frozen codec",
        choices=FINETUNED,
        networks=(SPECTRAL,),
    )
    layer_loss: float = option(1.0, "finetuning: weight of the losses of shallower depths, 0 to 1")
    lsf_terms: bool = option(
        True,
        "1: penalty, entropy and target_entropy count LSFs with the first codec's codes; 0: codes alone",
        networks=SAMPLES,
    )
    lsf_histogram: str = option(
        "coefficient",
        "entropy loss: one histogram of LSFs per coefficient, or the original's flat one",
        choices=("coefficient", "flat"),
        networks=SAMPLES,
    )
    target_entropy: float = option(2.2, "bits per symbol that tau steers to")
    target_entropy_per_module: tuple[float, ...] = option((), "bits per symbol of each module; empty: target_entropy")
    target_kbps: float = option(0.0, "bitrate of all parts, 1000 bits per second, instead of target_entropy; 0: unused")
    rate_range: tuple[float, ...] = option(
        (),
        "lowest and highest kbps of a model for any rate, whose steps are drawn at random in training; target_kbps is "
        "the rate at default_offset; empty: one rate (spectral)",
        network=True,
        networks=(SPECTRAL,),
    )
    default_offset: float = option(
        0.0,
        "offset of the logarithm of the steps at which a model for any rate codes where no rate is asked for: higher is"
        " coarser (spectral)",
        networks=(SPECTRAL,),
    )
    budget: str = option(
        "auto",
        "joint: one tau on the bits of LPC, gain and all codecs together; modules: one for each; auto: joint where"
        " networks are spectral",
        choices=("auto", "joint", "modules"),
    )
    tau_controller: str = option(
        "closed_loop",
        "closed_loop: every 20 steps; original: once an epoch",
        choices=("closed_loop", "original"),
        networks=SAMPLES,
    )
    tau_epoch_steps: tuple[float, ...] = option(
        (),
        "original controller: rise of tau above the target, fall below it, tolerance in bits per symbol; empty: "
        "'0.015 0.045 0.05' with LPC, '0.015 0.015 0' without",
        networks=SAMPLES,
    )
    tau_step: float = option(
        0.4, "closed loop: change of tau in 20 steps when the rate is twice its target", networks=SAMPLES
    )

    learning_rate: float = option(
        2e-4, "learning rate of the first codec", flag="learning_rate_tanh", heading="Training"
    )
    follower_learning_rates: tuple[float, ...] = option(
        (2e-5, 2e-6), "learning rates of the added codecs, then of finetuning", flag="learning_rate_greedy_followers"
    )
    epochs: int = option(200, "epochs of the first codec, each steps_per_epoch steps", flag="epoch_tanh")
    follower_epochs: tuple[int, ...] = option(
        (50, 50), "epochs of the added codecs, then of finetuning", flag="epoch_greedy_followers"
    )
    steps_per_epoch: int = option(0, "steps in an epoch; 0: a pass over the corpus")
    batch_size: int = option(128, "frames per step")
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
    adam_epsilon: float = option(1e-7, "Adam's epsilon; the original: 1e-8")
    ema_decay: float = option(0.999, "averaging of the weights that are validated and exported; 0: none")
    validation_files: int = option(8, "files scored after each epoch")
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

    def __post_init__(self) -> None:
        if isinstance(self.quantizer, str):  # one kind for all modules, as older models have it
            object.__setattr__(self, "quantizer", tuple(self.quantizer.split()))
        _check(self)

    @property
    def trains_alpha(self) -> bool:
        """Only soft mixtures have to grow hard; for hard decisions alpha only sets the resolution of their gradient."""
        return self.quantizer_gradient == "soft"

    def module_strides(self) -> tuple[int, ...]:
        """The stride of every module; a short list is extended by its last value."""
        return _extended(self.strides, self.num_modules)

    def module_bins(self) -> tuple[int, ...]:
        """The number of bins of every module; a short list is extended by its last value."""
        return _extended(self.bins, self.num_modules)

    def spectral_sizes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Width, narrow channels and blocks of every module; short lists are extended by their last values."""
        width, narrow, blocks = (
            _extended(values, self.num_modules)
            for values in (self.spectral_width, self.spectral_narrow, self.spectral_blocks)
        )
        return width, narrow, blocks

    def module_quantizers(self) -> tuple[str, ...]:
        """The kind of quantiser of every module; a short list is extended by its last value."""
        return _extended(self.quantizer, self.num_modules)

    def follower_setting(self, values: Sequence[float], module: int | None) -> float:
        """The value for follower `module` (1 is the first one), or for finetuning with None: the last."""
        if module is None:
            return values[-1]
        followers = values[:-1] or values
        return _extended(tuple(followers), self.num_modules)[module - 1]

    def to_dict(self) -> dict[str, Any]:
        """Every option by its flag's spelling, in plain JSON types."""
        return {flag: _plain(getattr(self, name)) for name, flag in _flags().items()}

    def identity(self) -> dict[str, Any]:
        """The options that make two runs different."""
        options = {flag_of(field): field for field in dataclasses.fields(self)}
        return {flag: value for flag, value in self.to_dict().items() if options[flag].metadata["identity"]}

    def with_network_of(self, saved: Config, *, keep: Sequence[str] = ()) -> Config:
        """This configuration with the network of a saved model, but for the fields named in `keep`."""
        network = {
            field.name: getattr(saved, field.name)
            for field in dataclasses.fields(self)
            if field.metadata["network"] and field.name not in keep
        }
        return dataclasses.replace(self, **network)


def from_dict(values: Mapping[str, Any], *, origin: str) -> Config:
    """A configuration from flag spellings and plain values; what is missing keeps its default.

    Raises:
        UserError: an unknown key, or a value of the wrong kind.
    """
    names = {flag: name for name, flag in _flags().items()}
    for key in values:
        if key not in names:
            raise UserError(f"{origin}: unknown key '{brief(key)}'{_nearest(key, names)}")
    types = get_type_hints(Config)
    before = "argument --" if origin == COMMAND_LINE else f"{origin}: "
    fields = {names[key]: _convert(value, types[names[key]], f"{before}{key}") for key, value in values.items()}
    return Config(**fields)


def read_experiment(path: Path) -> dict[str, Any]:
    """The options that an experiment file (TOML) names, by their flags' spelling."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in QUICKSTART.parent.glob("*.toml")))
        raise UserError(f"no experiment file {path}; configs/ holds {known}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as an experiment file: {error}") from None


def parse_flags(arguments: Sequence[str]) -> tuple[Config, dict[str, Any]]:
    """The configuration that a command line asks for, and the options it names itself.

    Args:
        arguments: the command line without the program's name. None at all means the quick start.

    Returns:
        The configuration, and what was named in flags or in the experiment file, by flag spelling.

    Raises:
        UserError: an unknown flag or a malformed value.
    """
    given = vars(_parser().parse_args(list(arguments)))
    for flag in IGNORED:
        given.pop(flag, None)
    experiment = given.pop("config", None if arguments else str(QUICKSTART))
    named = read_experiment(_experiment_path(experiment)) if experiment else {}
    origin = str(experiment) if experiment else COMMAND_LINE
    from_dict(named, origin=origin)
    named |= given
    config = from_dict(named, origin=COMMAND_LINE)
    if config.training_mode in FRESH:
        check_known(named, config)
    return config, named


def check_known(named: Mapping[str, Any], config: Config) -> None:
    """Raises UserError where a flag that was named is one of another kind of network, or a number of it does nothing.

    Args:
        named: by flag spelling.
        config: with the kind in hand: that of the flags, or of the saved model that training goes on from.
    """
    networks = {flag_of(field): field.metadata["networks"] for field in dataclasses.fields(Config)}
    own = name_of_kind(config.block)
    for flag in named:
        if networks[flag] and own not in map(name_of_kind, networks[flag]):
            others = " and ".join(networks[flag])
            raise UserError(f"argument --{flag}: unknown with --resnet_type {config.block}; it is for {others}")
    check_of_kind(config, named)


def _experiment_path(name: str) -> Path:
    path = Path(name)
    if path.suffix or path.exists():
        return path
    return QUICKSTART.parent / f"{path.name}.toml"


class _Parser(Parser):
    """Mistakes become a UserError that names the nearest known flag."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
        if message.startswith("unrecognized") and unknown.startswith("-"):
            message = f"unknown flag {unknown}{_nearest(unknown.lstrip('-'), _flags().values(), '--')}"
        raise UserError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--config FILE] [--FLAG VALUE ...]",
        description="Train, finetune and evaluate collaborative quantization. Without any flag: the quick start.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", metavar="FILE", help="experiment file, or its name in configs/; flags win over it")
    group: argparse._ActionsContainer = parser
    for field in dataclasses.fields(Config):
        if field.metadata["heading"]:
            group = parser.add_argument_group(field.metadata["heading"])
        # some read best bare, the other switches take 0 or 1
        bare: dict[str, Any] = {"nargs": "?", "const": "1"} if field.name in BARE else {}
        group.add_argument(f"--{flag_of(field)}", metavar=_metavar(field), help=_help(field), **bare)
    ignored = parser.add_argument_group("Without effect")
    for flag, meaning in IGNORED.items():
        ignored.add_argument(f"--{flag}", metavar="N", help=meaning)
    return parser


def _metavar(field: dataclasses.Field[Any]) -> str:
    if field.metadata["choices"]:
        return f"{{{','.join(map(str, field.metadata['choices']))}}}"
    return {bool: "0|1", int: "N", float: "X", str: "TEXT", tuple: "'X X ...'"}[type(field.default)]


def _help(field: dataclasses.Field[Any]) -> str:
    return f"{field.metadata['help']} (default: {shown(field.default)})".replace("%", "%%")


def flag_of(field: dataclasses.Field[Any]) -> str:
    """The spelling of an option on the command line, without its dashes."""
    return field.metadata["flag"] or field.name


def _flags() -> dict[str, str]:
    return {field.name: flag_of(field) for field in dataclasses.fields(Config)}


def _plain(value: Any) -> Any:
    """A value in JSON's types; words are one string, the form that models of a single kind of quantiser always had."""
    if isinstance(value, tuple):
        return " ".join(value) if value and isinstance(value[0], str) else list(value)
    return value


def brief(value: Any) -> str:
    """A value in a message: files may hold ones of any length."""
    try:
        text = repr(value) if isinstance(value, float) else str(value)
    except ValueError:  # Python does not print whole numbers of more than 4300 digits
        text = "a very large number"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ..."


def shown(value: Any) -> str:
    """A value as a user would type it."""
    if isinstance(value, (tuple, list)):
        words = [entry if isinstance(entry, str) else f"{entry:g}" for entry in value]
        return words[0] if len(words) == 1 and isinstance(value[0], str) else f"'{' '.join(words)}'"
    if isinstance(value, bool):
        return str(int(value))
    return f"'{value}'" if value == "" or (isinstance(value, str) and " " in value) else str(value)


def _nearest(word: str, known: Any, prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix}{close[0]}?" if close else "; --help lists them all"


def _extended(values: tuple[Any, ...], length: int) -> tuple[Any, ...]:
    return (values + values[-1:] * length)[:length]


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("0", "1", "true", "false"):
        raise ValueError
    return text in ("1", "true")


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or number != float(value):
        raise ValueError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, (str, Path)):
        raise ValueError
    return str(value)


def _entries(kind: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def parse(value: Any) -> tuple[Any, ...]:
        entries = value.replace(",", " ").split() if isinstance(value, str) else value
        return tuple(kind(entry) for entry in (entries if isinstance(entries, Sequence) else [entries]))

    return parse


_CONVERTERS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    bool: (_boolean, "0 or 1"),
    int: (_whole, "a whole number"),
    float: (_number, "a number"),
    str: (_text, "text"),
    tuple[str, ...]: (_entries(_text), "words such as 'vector scalar'"),
    tuple[int, ...]: (_entries(_whole), "whole numbers such as '2 2'"),
    tuple[float, ...]: (_entries(_number), "numbers such as '0.1 0.2'"),
}


def _convert(value: Any, kind: Any, where: str) -> Any:
    convert, expected = _CONVERTERS[kind]
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: expected {expected}, found '{brief(value)}'") from None


def require(condition: bool, name: str, expected: str, value: Any) -> None:
    """Raises UserError where a value of an option is not as expected."""
    if not condition:
        raise UserError(f"argument --{_flags()[name]}: expected {expected}, found {brief(shown(value))}")


def _check(config: Config) -> None:
    """Raises UserError where values are out of range or do not fit together."""
    for field in dataclasses.fields(config):
        choices, value = field.metadata["choices"], getattr(config, field.name)
        if choices:
            values = value if isinstance(value, tuple) else (value,)
            fits = bool(values) and set(values) <= set(choices)
            require(fits, field.name, f"one of {', '.join(map(str, choices))}", value)
        if field.name in ABOVE_ZERO:
            require(0 < value < math.inf, field.name, "a number above 0", value)
        elif isinstance(field.default, (int, float)) and field.name not in MAY_BE_NEGATIVE:
            require(0 <= value < math.inf, field.name, "a number of at least 0", value)
    for name in ("follower_learning_rates", "follower_epochs"):
        values = getattr(config, name)
        positive = len(values) > 0 and all(0 < value < math.inf for value in values)
        require(positive, name, "at least one number, each above 0", values)
    for name in MAY_BE_NEGATIVE:
        require(-math.inf < getattr(config, name) < 0, name, "a number below 0", getattr(config, name))
    require(config.seed < 2**32, "seed", "a whole number below 2^32", config.seed)
    require(config.ema_decay < 1, "ema_decay", "a number from 0 to below 1", config.ema_decay)
    require(config.lsf_spacing <= 0.1, "lsf_spacing", "0 to 0.1 radians", config.lsf_spacing)
    levels = config.lsf_levels
    fits = 2 * LPC_ORDER <= levels <= LSF_CODEBOOK_SIZE and levels % LPC_ORDER == 0
    require(fits, "lsf_levels", f"a multiple of {LPC_ORDER} from {2 * LPC_ORDER} to {LSF_CODEBOOK_SIZE}", levels)
    require(config.bandwidth_expansion <= 1, "bandwidth_expansion", "0 to 1", config.bandwidth_expansion)
    _check_sizes(config)
    trains = config.training_mode > 0
    require(
        trains or config.distribute == "none", "distribute", "none in mode 0, which trains nothing", config.distribute
    )
    check_of_kind(config)
    _check_objective(config)


def _check_sizes(config: Config) -> None:
    """Of what a batch holds, and of rates to evaluate at."""
    run, size = config.consecutive_frames, config.batch_size
    fits = run > 0 and size % run == 0
    require(fits, "batch_size", f"a multiple of --consecutive_frames {run}, at least {run}", size)
    positive = all(0 < each < math.inf for each in config.rates)
    require(positive, "rates", "numbers above 0 such as '6 9 12'", config.rates)


def _check_objective(config: Config) -> None:
    weights = config.coefficients
    four = len(weights) == 4 and all(map(math.isfinite, weights)) and min(weights[:3]) >= 0
    require(four, "coefficients", "four numbers such as '60 10 10 0', the first three at least 0", weights)
    targets = config.target_entropy_per_module
    fits = len(targets) in (0, config.num_modules) and all(0 < target < math.inf for target in targets)
    modules = f"{config.num_modules} (--num_resnets)"
    require(fits, "target_entropy_per_module", f"one number above 0 for each of {modules} modules", targets)
    steps = config.tau_epoch_steps
    three = len(steps) in (0, 3) and all(0 <= step < math.inf for step in steps)
    require(three, "tau_epoch_steps", "three numbers of at least 0 such as '0.015 0.045 0.05'", steps)
