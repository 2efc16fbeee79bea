"""Flags of a command line that have no effect under the other flags."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from kinds import NETWORKS
from options.common import CONCEALMENT, ENHANCER
from options.config import IGNORED, Config
from options.option import flag_of


class _Idle(NamedTuple):
    """Flags, the setting in which they do nothing, and why."""

    flags: Sequence[str]
    here: Callable[[Config], bool]
    reason: str


def _trains(*modes: int) -> Callable[[Config], bool]:
    return lambda config: config.training_mode not in (0, *modes)


def _changes_shape(numbers: int, block: str) -> Callable[[Config], bool]:
    """Whether blocks are of a kind, and one of so many first numbers of their shape is not the default."""
    return lambda config: config.block == block and config.shape[:numbers] != Config().shape[:numbers]


READ_IN_MODE_0 = ("training_mode", "base_model_id", "from_where_step", "data_dir", "sa_sentences")
TRAINING_FLAGS = tuple(
    flag_of(field)
    for field in dataclasses.fields(Config)
    if field.metadata["identity"] and flag_of(field) not in READ_IN_MODE_0
)
FOLLOWER_FLAGS = (
    "learning_rate_greedy_followers",
    "epoch_greedy_followers",
    "follower_pretrain_epochs",
    "frozen_codecs",
)


def _of_other_networks() -> Iterator[_Idle]:
    """A rule for each set of networks that options name as theirs."""
    fields = dataclasses.fields(Config)
    for networks in dict.fromkeys(field.metadata["networks"] for field in fields if field.metadata["networks"]):
        flags = [flag_of(field) for field in fields if field.metadata["networks"] == networks]
        here = functools.partial(lambda networks, config: config.block not in networks, networks)
        yield _Idle(flags, here, f"for --resnet_type {' and '.join(networks)}")


RULES = (
    *(_Idle((flag,), lambda config: True, meaning) for flag, meaning in IGNORED.items()),
    _Idle(TRAINING_FLAGS, lambda config: config.training_mode == 0, "mode 0 evaluates a model as it was trained"),
    _Idle(("rates", "max_files"), lambda config: config.training_mode != 0, "they are for mode 0"),
    _Idle(("base_model_id", "from_where_step"), _trains(2, 5), "modes 1, 3 and 4 start afresh"),
    _Idle(("from_where_step",), _trains(1, 3, 4, 5), "mode 2 starts from the first codec"),
    _Idle(
        ("learning_rate_tanh", "epoch_tanh", "pretrain_step"),
        _trains(1, 3, 4),
        "modes 2 and 5 train no first codec alone",
    ),
    _Idle(
        FOLLOWER_FLAGS,
        _trains(2, 3, 4, 5),
        "mode 1 trains the first codec only",
    ),
    _Idle(
        FOLLOWER_FLAGS,
        lambda config: config.training_mode in (3, 4) and config.num_modules == 1,
        "there is one codec",
    ),
    _Idle(
        FOLLOWER_FLAGS,
        lambda config: config.training_mode == 3 and config.original_modes,
        "mode 3 of April 2020 trains the first codec only",
    ),
    _Idle(("original_modes",), _trains(3, 5), "it is for modes 3 and 5"),
    _Idle(("layer_loss", "finetuned"), _trains(5), "it is for finetuning, mode 5"),
    _Idle(
        ("layer_loss", "target_kbps", "loudness_weight", "disturbance_weight", "level_weight", "short_window_weight"),
        lambda config: config.training_mode == 5 and config.finetuned in (ENHANCER, CONCEALMENT),
        "a part alone is trained, which has losses of its own",
    ),
    _Idle(
        (
            "is_cq",
            "residual",
            "bandwidth_expansion",
            "lsf_spacing",
            "lsf_alpha_start",
            "lsf_terms",
            "lsf_histogram",
            "loss_domain",
        ),
        lambda config: config.time_domain,
        "there is no LPC with --is_pure_time_domain 1",
    ),
    _Idle(("time_domain_scale",), lambda config: not config.time_domain, "it is for --is_pure_time_domain 1"),
    *_of_other_networks(),
    _Idle(
        ("bottleneck_kernel_and_dilation",),
        _changes_shape(1, "gln"),
        "its first number: gated kernels are --gated_kernel wide",
    ),
    _Idle(
        ("bottleneck_kernel_and_dilation",),
        _changes_shape(4, "folded"),
        "its first four numbers: folded networks take the dilations alone",
    ),
    _Idle(
        ("alpha_start", "num_bins_for_follower"),
        lambda config: "scalar" not in config.of_modules("quantizer"),
        "no quantiser is scalar",
    ),
    _Idle(
        ("vector_alpha_start", "vector_start"),
        lambda config: "vector" not in config.of_modules("quantizer"),
        "no quantiser is one of vectors",
    ),
    _Idle(
        ("target_entropy", "target_entropy_per_module"), lambda config: config.target_kbps > 0, "--target_kbps is given"
    ),
    _Idle(
        ("target_entropy",),
        lambda config: bool(config.target_entropy_per_module),
        "each module has a target of its own",
    ),
    _Idle(("tau_step",), lambda config: config.tau_controller != "closed_loop", "it is for the closed loop"),
    _Idle(
        ("tau_epoch_steps",), lambda config: config.tau_controller != "original", "it is for --tau_controller original"
    ),
    _Idle(
        ("consecutive_frames",),
        lambda config: config.block in NETWORKS["samples"] and not config.loudness_weight,
        "--loudness_weight is 0",
    ),
    _Idle(
        ("loss_after_de_emphasis",),
        lambda config: not config.pre_emphasis or config.loss_domain == "residual",
        "the losses compare no pre-emphasised speech",
    ),
)


def idle_flags(config: Config) -> set[str]:
    """The flags that have no effect under a configuration, whatever their values."""
    return {flag for rule in RULES if rule.here(config) for flag in rule.flags}


def flags_without_effect(arguments: Sequence[str], config: Config) -> list[str]:
    """A phrase for each group of flags that has no effect on a command line.

    Args:
        arguments: the command line without the program's name.
        config: what it asks for.
    """
    named = {word.removeprefix("--").split("=")[0] for word in arguments if word.startswith("--")}
    told: set[str] = set()
    phrases = []
    for rule in RULES:
        idle = [flag for flag in rule.flags if flag in named - told] if rule.here(config) else []
        if idle:
            told |= set(idle)
            phrases.append(f"{', '.join(f'--{flag}' for flag in idle)} ({rule.reason})")
    return phrases
