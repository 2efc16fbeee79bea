"""Bounds of the options of networks on the lapped spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nsc.errors import UserError
from nsc.format.version_2 import OFFSETS
from nsc.kinds.spectral.level import offset_of
from nsc.kinds.spectral.network import MOST_LAMBDA
from nsc.kinds.spectral.pitch import BLOCK as PITCH_BLOCK
from options.config import Config, require, shown


def check(config: Config, named: Mapping[str, Any]) -> None:
    """See `kinds.check_of_kind`."""
    run = config.consecutive_frames
    require(run >= 8, "consecutive_frames", "at least 8 frames of 40 ms", run)
    require(not config.time_domain, "time_domain", "0 with spectral networks, which need LPC", config.time_domain)
    require(set(config.quantizer) == {"scalar"}, "quantizer", "scalar with spectral networks", config.quantizer)
    fits = 160 <= config.hop <= 512 and config.hop % 16 == 0 and config.hop % config.fold == 0
    require(fits, "hop", f"a multiple of 16 and of fold {config.fold} from 160 to 512", config.hop)
    require(config.rdo_lambda <= MOST_LAMBDA, "rdo_lambda", f"0 to {MOST_LAMBDA}", config.rdo_lambda)
    require(config.look_ahead <= 1, "look_ahead", "0 or 1", config.look_ahead)
    width = config.enhancer_width
    require(width <= 1024 and width % 2 == 0, "enhancer_width", "an even number up to 1024, or 0", width)
    whole = not width or config.hop % PITCH_BLOCK == 0
    require(whole, "enhancer_width", f"0 with a hop that is no multiple of {PITCH_BLOCK}", width)
    for name, most in (("spectral_width", 1024), ("spectral_narrow", 512), ("spectral_blocks", 16)):
        values = getattr(config, name)
        in_range = len(values) > 0 and all(0 < value <= most for value in values)
        require(in_range, name, f"whole numbers from 1 to {most}", values)
    kbps = config.rate_range
    rising = len(kbps) == 2 and 0 < kbps[0] < kbps[1]
    require(not kbps or rising, "rate_range", "two rising numbers such as '6 32', or none", kbps)
    offset, finest, coarsest = config.default_offset, offset_of(0), offset_of(OFFSETS - 1)
    require(finest <= offset <= coarsest, "default_offset", f"a number from {finest} to {coarsest}", offset)
    require(not offset or bool(kbps), "default_offset", "0 without --rate_range", offset)
    require(config.fold % 4 == 0, "fold", "4, 8, 16, 32 ... bins, a divisor of the hop", config.fold)
    if "coeff_term" in named and any(config.coefficients[1:3]):
        raise UserError(
            f"argument --coeff_term: expected 0 as second and third number with --resnet_type {config.block}, which has"
            f" no loss on mel bands and no quantisation penalty, found {shown(config.coefficients)}"
        )
