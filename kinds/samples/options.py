"""Options of networks on frames of samples, and their bounds."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from constants import FRAME_LENGTH, FRAMES_PER_GROUP, LSF_CODEBOOK_SIZE
from kinds import NETWORKS
from options.common import CommonOptions
from options.option import option as any_option
from options.option import require

GATED, WAVEFORM, FOLDED = ("gln",), ("gln", "bottleneck"), ("folded",)
option = functools.partial(any_option, networks=NETWORKS["samples"])


@dataclass(frozen=True)
class SampleOptions(CommonOptions):
    """Flags that other kinds of networks do not know."""

    gain: str = option(
        "group",
        "one gain per 16 frames, or per utterance",
        heading="Frames of samples: signal chain",
        choices=("group", "utterance"),
        network=True,
    )
    gain_augmentation_db: float = option(3.0, "random level of training frames, +- dB")
    time_domain: bool = option(
        False,
        "1: no LPC, the codecs code the waveform",
        flag="is_pure_time_domain",
        network=True,
    )
    high_pass: bool = option(False, "1: 50 Hz second-order high-pass before coding, never undone", network=True)
    residual: str = option(
        "frame",
        "LPC residual: whole frame from zero state, with square-root fades, or the original's sub-frames",
        choices=("frame", "taper", "subframe"),
        network=True,
    )
    bandwidth_expansion: float = option(
        1.0, "gamma of A(z/gamma), which gives the residual and shapes its noise; 1: A(z) itself", network=True
    )

    shape: tuple[int, ...] = option(
        (9, 9, 100, 20, 1, 2),
        "dilated-neck kernel, outer kernel, wide channels, narrow channels, then a dilation per residual block",
        heading="Frames of samples: networks",
        flag="bottleneck_kernel_and_dilation",
        network=True,
    )
    gated_kernel: int = option(15, "kernel of the two gated convolutions (gln)", network=True, networks=GATED, sign=1)
    end_kernel: int = option(
        55, "kernel of the first, code and last convolution (gln, bottleneck)", network=True, networks=WAVEFORM, sign=1
    )
    folded_width: int = option(144, "wide channels (folded)", network=True, networks=FOLDED, sign=1)
    folded_narrow: int = option(64, "narrow channels (folded)", network=True, networks=FOLDED, sign=1)
    folded_blocks: int = option(
        3, "residual blocks in encoder and decoder each (folded)", network=True, networks=FOLDED, sign=1
    )
    folded_kernel: int = option(
        5, "kernel of the two gated convolutions (folded)", network=True, networks=FOLDED, sign=1
    )
    film_units: int = option(
        0,
        "hidden units by which the LPC envelope scales and shifts every layer's channels (folded); 0: none",
        network=True,
        networks=FOLDED,
    )
    strides: tuple[int, ...] = option(
        (2,),
        "down-sampling of each module, 2 or 4: 256 or 128 codes per frame",
        flag="the_strides",
        network=True,
        by_module=True,
    )
    res_scalar: float = option(1.0, "scales every codec's input and, inversely, its output", network=True, sign=1)
    time_domain_scale: float = option(
        1.0,
        "without LPC, levelled speech is divided by it before codecs and losses; the original: 33.46",
        network=True,
        sign=1,
    )

    quantizer: tuple[str, ...] = option(
        ("scalar",),
        "kind of each module's quantiser, such as 'vector scalar'",
        choices=("scalar", "vector"),
        network=True,
        by_module=True,
        heading="Frames of samples: quantisers",
    )
    bins: tuple[int, ...] = option(
        (32, 32), "scalar quantisation bins of each module", flag="num_bins_for_follower", network=True, by_module=True
    )
    mu_law: bool = option(False, "1: mu-law companding of the code before the quantiser (mu 63)", network=True)
    alpha_start: float = option(
        -50.0, "softmax scale of the codes' soft assignment, trained in the soft mode only", sign=-1
    )
    vector_alpha_start: float = option(
        -500.0,
        "the same for vectors on the original's grid, whose entries lie 0.2/31 apart; scaled with other starts",
        sign=-1,
    )
    vector_start: str = option(
        "data",
        "codebook of vectors: k-means of the codes at the end of the warm-up, or the original's grid, which knows no"
        " warm-up",
        choices=("data", "grid"),
    )
    frozen_codecs: str = option(
        "hard",
        "followers are trained on hard decisions of the earlier codecs, or on the original's soft mixtures",
        choices=("hard", "soft"),
    )
    quantizer_gradient: str = option(
        "straight_through",
        "training decodes hard decisions with a straight-through gradient, or the original's soft mixture",
        choices=("straight_through", "soft"),
    )

    loss_domain: str = option(
        "speech",
        "signal that the losses compare",
        heading="Frames of samples: losses and rate",
        choices=("speech", "residual"),
    )
    loss_after_de_emphasis: bool = option(False, "1: losses on speech after de-emphasis of the frame")
    lsf_terms: bool = option(
        True, "1: penalty, entropy and target_entropy count LSFs with the first codec's codes; 0: codes alone"
    )
    lsf_histogram: str = option(
        "coefficient",
        "entropy loss: one histogram of LSFs per coefficient, or the original's flat one",
        choices=("coefficient", "flat"),
    )
    tau_controller: str = option(
        "closed_loop", "closed_loop: every 20 steps; original: once an epoch", choices=("closed_loop", "original")
    )
    tau_epoch_steps: tuple[float, ...] = option(
        (),
        "original controller: rise of tau above the target, fall below it, tolerance in bits per symbol; empty: "
        "'0.015 0.045 0.05' with LPC, '0.015 0.015 0' without",
    )
    tau_step: float = option(0.4, "closed loop: change of tau in 20 steps when the rate is twice its target")

    @property
    def trains_alpha(self) -> bool:
        """Only soft mixtures have to grow hard; for hard decisions alpha only sets the resolution of their gradient."""
        return self.quantizer_gradient == "soft"


def check(config: SampleOptions, named: Mapping[str, Any]) -> None:
    """See `kinds.check_of_kind`."""
    run = config.consecutive_frames
    require(run > 0 and FRAMES_PER_GROUP % run == 0, config, "consecutive_frames", "1, 2, 4, 8 or 16")
    numbers = "at least five whole numbers above 0: neck kernel, outer kernel, wide, narrow, dilations"
    require(len(config.shape) >= 5 and min(config.shape) > 0, config, "shape", numbers)
    strides, bins = config.strides, config.bins
    require(bool(strides) and set(strides) <= {2, 4}, config, "strides", "strides of 2 or 4")
    has_envelope = config.block == "folded" and not config.time_domain
    require(not config.film_units or has_envelope, config, "film_units", "0 without a folded network and LPC")
    in_range = all(2 <= number <= LSF_CODEBOOK_SIZE for number in bins)
    require(bool(bins) and in_range, config, "bins", "2 to 256 bins each")
    halved = config.shape[2] % max(strides) == 0 or config.block == "folded"
    require(halved, config, "shape", f"a wide number that {max(strides)}, the stride, divides")
    whole = config.fold % 4 == 0 and FRAME_LENGTH % config.fold == 0
    require(whole, config, "fold", "4, 8, 16, 32 ... samples, a divisor of 512")
    require(config.bandwidth_expansion <= 1, config, "bandwidth_expansion", "0 to 1")
    steps = config.tau_epoch_steps
    three = len(steps) in (0, 3) and all(0 <= step < math.inf for step in steps)
    require(three, config, "tau_epoch_steps", "three numbers of at least 0 such as '0.015 0.045 0.05'")
