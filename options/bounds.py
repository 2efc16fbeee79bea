"""Bounds on the numbers of a saved model's configuration that size memory or time, checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nsc.errors import UserError
from options.config import Config

MOST_CODECS: Final = 63  # that an .nsc file can hold
MOST_CHANNELS: Final = 8192
LONGEST_KERNEL: Final = 1025  # samples
LARGEST_DILATION: Final = 512  # samples, a frame
MOST_BLOCKS: Final = 256
SMALLEST_SCALE, LARGEST_SCALE = 1e-6, 1e6

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "num_modules": (1, MOST_CODECS),
    "gated_kernel": (1, LONGEST_KERNEL),
    "end_kernel": (1, LONGEST_KERNEL),
    "folded_width": (1, MOST_CHANNELS),
    "folded_narrow": (1, MOST_CHANNELS),
    "folded_blocks": (1, MOST_BLOCKS),
    "folded_kernel": (1, LONGEST_KERNEL),
    "film_units": (0, MOST_CHANNELS),
    "res_scalar": (SMALLEST_SCALE, LARGEST_SCALE),
}


def check_bounds(config: Config) -> None:
    """Raise UserError where a number is beyond what any model needs."""
    for name, (lowest, highest) in BOUNDS.items():
        _require(lowest <= getattr(config, name) <= highest, name, f"{lowest:g} to {highest:g}", getattr(config, name))
    neck, outer, wide, narrow, *dilations = config.shape
    _require(max(neck, outer) <= LONGEST_KERNEL, "shape", f"kernels up to {LONGEST_KERNEL}", max(neck, outer))
    _require(max(wide, narrow) <= MOST_CHANNELS, "shape", f"up to {MOST_CHANNELS} channels", max(wide, narrow))
    _require(len(dilations) <= MOST_BLOCKS, "shape", f"up to {MOST_BLOCKS} dilations", len(dilations))
    _require(max(dilations) <= LARGEST_DILATION, "shape", f"dilations up to {LARGEST_DILATION} samples", max(dilations))
    for name in ("strides", "bins"):
        _require(len(getattr(config, name)) <= MOST_CODECS, name, f"up to {MOST_CODECS} entries", "more")


def check_weights(config: Config, sizes: Mapping[str, Sequence[int]]) -> None:
    """Raises UserError where a configuration asks for more numbers than are saved.

    Args:
        config: within its bounds.
        sizes: how many numbers each array of each layer has: "lpc", "codec_1", "codec_2", ...
    """
    codecs = {f"codec_{number}" for number in range(1, config.num_modules + 1)}
    if {name for name in sizes if name.startswith("codec_")} != codecs:
        raise UserError(f"expected weights of {config.num_modules} codecs, found {', '.join(sorted(sizes)) or 'none'}")
    arrays, numbers = _fewest(config)
    for name in codecs:
        if len(sizes[name]) < arrays or sum(sizes[name]) < numbers:
            raise UserError(
                f"expected at least {arrays} arrays of {numbers} numbers for {name}, found {len(sizes[name])} of"
                f" {sum(sizes[name])}"
            )


def _fewest(config: Config) -> tuple[int, int]:
    """Arrays and numbers that a codec has at least; the true numbers are not much larger."""
    if config.block == "folded":
        wide, narrow, blocks = config.folded_width, config.folded_narrow, 2 * config.folded_blocks
        numbers = wide * narrow + 2 * config.folded_kernel * narrow**2
        return 6 * blocks, blocks * (numbers + config.film_units * wide)
    _, outer, wide, narrow, *dilations = config.shape
    if config.block in ("gln", "bottleneck"):
        return 4 * len(dilations), len(dilations) * (outer * wide * narrow) + config.end_kernel * wide
    return 0, 0


def _require(condition: bool, name: str, expected: str, value: Any) -> None:
    if not condition:
        raise UserError(f"{name}: expected {expected}, found {value}")
