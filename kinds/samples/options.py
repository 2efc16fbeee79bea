"""Bounds of the options of networks on samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from constants import FRAME_LENGTH, FRAMES_PER_GROUP, LSF_CODEBOOK_SIZE
from options.config import Config, require


def check(config: Config, named: Mapping[str, Any]) -> None:
    """See `kinds.check_of_kind`."""
    run = config.consecutive_frames
    require(run > 0 and FRAMES_PER_GROUP % run == 0, "consecutive_frames", "1, 2, 4, 8 or 16", run)
    require(
        len(config.shape) >= 5 and min(config.shape) > 0,
        "shape",
        "at least five whole numbers above 0: neck kernel, outer kernel, wide, narrow, dilations",
        config.shape,
    )
    strides, bins = config.strides, config.bins
    require(bool(strides) and set(strides) <= {2, 4}, "strides", "strides of 2 or 4", strides)
    has_envelope = config.block == "folded" and not config.time_domain
    require(
        not config.film_units or has_envelope, "film_units", "0 without a folded network and LPC", config.film_units
    )
    in_range = all(2 <= number <= LSF_CODEBOOK_SIZE for number in bins)
    require(bool(bins) and in_range, "bins", "2 to 256 bins each", bins)
    halved = config.shape[2] % max(strides) == 0 or config.block == "folded"
    require(halved, "shape", f"a wide number that {max(strides)}, the stride, divides", config.shape)
    require(
        config.fold % 4 == 0 and FRAME_LENGTH % config.fold == 0,
        "fold",
        "4, 8, 16, 32 ... samples, a divisor of 512",
        config.fold,
    )
