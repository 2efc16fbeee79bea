"""Options of networks on the lapped spectrum, and their bounds."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinds import NETWORKS
from nsc.errors import UserError
from nsc.format.version_2 import OFFSETS
from nsc.format.version_3 import SPECTRA_PER_FRAME
from nsc.kinds.spectral.level import offset_of
from nsc.kinds.spectral.network import MOST_LAMBDA
from nsc.kinds.spectral.pitch import BLOCK as PITCH_BLOCK
from options.common import CONCEALMENT, CommonOptions
from options.option import option as any_option
from options.option import require, shown

WINDOWS = ("sine", "kbd", "low_overlap")  # of the lapped transform
option = functools.partial(any_option, networks=NETWORKS["spectral"])


@dataclass(frozen=True)
class SpectralOptions(CommonOptions):
    """Flags that other kinds of networks do not know."""

    hop: int = option(320, "new samples of a spectrum, and its bins", network=True, heading="Lapped spectrum", sign=1)
    spectra_per_frame: int = option(2, "spectra that share one set of LSFs", choices=SPECTRA_PER_FRAME, network=True)
    mdct_window: str = option("sine", "window of the transform", choices=WINDOWS, network=True)
    spectral_width: tuple[int, ...] = option((96,), "wide channels of each module", network=True, by_module=True)
    spectral_narrow: tuple[int, ...] = option((48,), "narrow channels of each module", network=True, by_module=True)
    spectral_blocks: tuple[int, ...] = option(
        (3,), "residual blocks in encoder and decoder each, of each module", network=True, by_module=True
    )
    look_ahead: int = option(0, "spectra of the future that encoders see, 0 or 1", network=True)
    enhancer_width: int = option(
        0,
        "channels of the enhancer of decoded speech along its pitch; 0: none, of a saved model either",
        network=True,
    )
    concealment_width: int = option(
        0, "units of the network that conceals losses; 0: none, of a saved model either", network=True
    )
    step_power: float = option(
        0.7, "power of the envelope that the quantiser's step follows, before training corrects it", sign=1
    )
    step_start: float = option(0.6, "step size at the start, relative to the envelope at unit level", sign=1)
    rdo_lambda: float = option(
        0.0,
        "squared error, in units of the step, that a bit is worth where training and a model's encoder choose between "
        "the nearest bin and the one below; 0: always the nearest",
    )
    noise_fill: bool = option(False, "decoders add noise, as loud as their network says", network=True)
    disturbance_weight: float = option(0.0, "weight of the loss on the disturbance of P.862 over the stretch; 0: none")
    level_weight: float = option(0.0, "weight of the loss on the levels of octave bands, squared decibels; 0: none")
    short_window_weight: float = option(
        0.0, "weight of the loss on energies of bands in windows of 4 and 10 ms; 0: none"
    )
    rate_range: tuple[float, ...] = option(
        (),
        "lowest and highest kbps of a model for any rate, whose steps are drawn at random in training; target_kbps is "
        "the rate at default_offset; empty: one rate",
        network=True,
    )
    default_offset: float = option(
        0.0,
        "offset of the logarithm of the steps at which a model for any rate codes where no rate is asked for: higher is"
        " coarser",
    )


def check(config: SpectralOptions, named: Mapping[str, Any]) -> None:
    """See `kinds.check_of_kind`."""
    run = config.consecutive_frames
    require(run >= 8, config, "consecutive_frames", "at least 8 frames of 40 ms")
    holds_outages = run >= 10 or config.finetuned != CONCEALMENT
    require(holds_outages, config, "consecutive_frames", "at least 10 frames of 40 ms with --finetuned concealment")
    fits = 160 <= config.hop <= 512 and config.hop % 16 == 0 and config.hop % config.fold == 0
    require(fits, config, "hop", f"a multiple of 16 and of fold {config.fold} from 160 to 512")
    require(config.rdo_lambda <= MOST_LAMBDA, config, "rdo_lambda", f"0 to {MOST_LAMBDA}")
    require(config.look_ahead <= 1, config, "look_ahead", "0 or 1")
    width = config.enhancer_width
    require(width <= 1024 and width % 2 == 0, config, "enhancer_width", "an even number up to 1024, or 0")
    whole = not width or config.hop % PITCH_BLOCK == 0
    require(whole, config, "enhancer_width", f"0 with a hop that is no multiple of {PITCH_BLOCK}")
    require(config.concealment_width <= 1024, config, "concealment_width", "0 to 1024")
    goes_on = not config.concealment_width or (not config.look_ahead and config.hop % PITCH_BLOCK == 0)
    require(goes_on, config, "concealment_width", f"0 with look_ahead, or a hop that is no multiple of {PITCH_BLOCK}")
    for name, most in (("spectral_width", 1024), ("spectral_narrow", 512), ("spectral_blocks", 16)):
        values = getattr(config, name)
        in_range = len(values) > 0 and all(0 < value <= most for value in values)
        require(in_range, config, name, f"whole numbers from 1 to {most}")
    kbps = config.rate_range
    rising = len(kbps) == 2 and 0 < kbps[0] < kbps[1]
    require(not kbps or rising, config, "rate_range", "two rising numbers such as '6 32', or none")
    offset, finest, coarsest = config.default_offset, offset_of(0), offset_of(OFFSETS - 1)
    require(finest <= offset <= coarsest, config, "default_offset", f"a number from {finest} to {coarsest}")
    require(not offset or bool(kbps), config, "default_offset", "0 without --rate_range")
    require(config.fold % 4 == 0, config, "fold", "4, 8, 16, 32 ... bins, a divisor of the hop")
    if "coeff_term" in named and any(config.coefficients[1:3]):
        raise UserError(
            f"argument --coeff_term: expected 0 as second and third number with --resnet_type {config.block}, which has"
            f" no loss on mel bands and no quantisation penalty, found {shown(config.coefficients)}"
        )
