"""Rate honesty: the entropy that training steers by, the ideal code length under the tables, and the payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST_GAP = 0.01  # of the payload above the ideal code length; a larger one is a fault of coder or tables
# Of training's estimate above the ideal code length. Contexts save up to 16 %; more tells that training steered by a
# rate that the model's symbols do not have.
LARGEST_EXCESS = 0.3
RED, PLAIN = "\033[31m", "\033[0m"


def gap(payload: float, ideal: float) -> float:
    """Relative excess of a payload over its ideal code length."""
    return payload / ideal - 1 if ideal else 0.0


def honesty_line(row: Mapping[str, Any], *, colour: bool) -> str:
    """One depth's rates of LPC and codes side by side.

    Args:
        row: of the summary of an evaluation.
        colour: prints a gap above `LARGEST_GAP` in red; else it is reported in words only.
    """
    found = gap(row["payload_kbps"], row["ideal_kbps"])
    shown = f"{100 * found:+.2f} %, at most {100 * row['largest_gap']:+.2f} % in a file"
    if found > LARGEST_GAP:
        shown += f", more than the {100 * LARGEST_GAP:g} % of a sound coder"
        shown = f"{RED}{shown}{PLAIN}" if colour else shown
    excess = gap(row["training_kbps"], row["ideal_kbps"])
    estimate = "information"
    if excess > LARGEST_EXCESS:
        estimate = f"{100 * excess:.0f} % above the ideal: what tau steered by is not what these symbols cost"
        estimate = f"{RED}{estimate}{PLAIN}" if colour else estimate
    return (
        f"rate honesty, depth {row['depth']}: training's estimate {row['training_kbps']:.2f} ({estimate}),"
        f" ideal code length {row['ideal_kbps']:.2f}, payload {row['payload_kbps']:.2f} kbps ({shown});"
        f" {row['kbps']:.2f} kbps with gain and framing"
    )
