"""Kinds of networks: the registry by which the pipeline finds them. A third kind is one more `register`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinds.kind import Kind
    from options.config import Config

# All values of --resnet_type. By name: those that are of a kind, the module that holds it, and that of its options.
CHOICES: list[str] = []
NETWORKS: dict[str, tuple[str, ...]] = {}
KINDS: dict[str, str] = {}
OPTIONS: dict[str, str] = {}


def register(kind: str, networks: tuple[str, ...], module: str, options: str) -> None:
    """Makes a kind known.

    Args:
        kind: its name.
        networks: its values of --resnet_type.
        module: whose KIND implements `kinds.kind.Kind`; imported when a cascade is made, since flags are read without
            TensorFlow.
        options: module whose `check` knows the bounds of its options, without TensorFlow.
    """
    NETWORKS[kind], KINDS[kind], OPTIONS[kind] = networks, module, options
    CHOICES.extend(networks)


register("samples", ("gln", "bottleneck", "folded"), "kinds.samples.kind", "kinds.samples.options")
register("spectral", ("spectral",), "kinds.spectral.kind", "kinds.spectral.options")


def name_of_kind(network: str) -> str:
    """The kind that a value of --resnet_type belongs to."""
    return next(kind for kind, networks in NETWORKS.items() if network in networks)


def check_of_kind(config: Config, named: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Raises UserError where options are out of their kind's bounds.

    Args:
        config: all options.
        named: those that a user named, by flag spelling: what has another default may be refused there.
    """
    importlib.import_module(OPTIONS[name_of_kind(config.block)]).check(config, named)


def kind_of(config: Config) -> Kind:
    """The kind of the networks that a configuration describes."""
    kind: Kind = importlib.import_module(KINDS[name_of_kind(config.block)]).KIND
    return kind


def cascade_of(config: Config) -> Any:
    """A cascade with fresh weights."""
    return kind_of(config).cascade(config)
