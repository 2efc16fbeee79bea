"""Losing groups on purpose: a two-state channel (Gilbert, 1960)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nsc.errors import UserError
from nsc.format.container import read_contents
from nsc.format.group import pack_group
from nsc.format.header import pack_header


class Channel(NamedTuple):
    """A Gilbert channel.

    loss: share of groups or packets lost on average, 0 to below 1.
    burst: mean number of them lost in a row, at least 1.
    seed: of its chance.
    """

    loss: float
    burst: float = 1.0
    seed: int = 0

    def losses(self, count: int) -> list[bool]:
        """Which of `count` groups or packets are lost."""
        return gilbert_losses(count, self.loss, self.burst, np.random.default_rng(self.seed))


def lose_groups(data: bytes, loss: float, burst: float, seed: int) -> bytes:
    """The file without the groups that a Gilbert channel loses.

    Args:
        data: an .nsc file.
        loss: share of groups lost on average, 0 to below 1.
        burst: mean number of groups lost in a row, at least 1.
        seed: of the channel.

    Raises:
        BitstreamError: the header cannot be read.
        UserError: values that no Gilbert channel has.
    """
    if not 0 <= loss < 1 or not 1 <= burst < math.inf or loss > burst * (1 - loss):
        raise UserError(
            f"expected a loss from 0 to below 1 and bursts of at least 1 and loss / (1 - loss) groups, found"
            f" {loss:g} and {burst:g}; choose longer bursts or less loss"
        )
    if seed < 0:
        raise UserError(f"expected a seed of at least 0, found {seed}; choose another")
    header, groups, *_ = read_contents(data)
    lost = Channel(loss, burst, seed).losses(len(groups))
    kept = [pack_group(group) for group, gone in zip(groups, lost, strict=True) if not gone]
    return b"".join([pack_header(header), *kept])


def gilbert_losses(count: int, loss: float, burst: float, generator: np.random.Generator) -> list[bool]:
    """Which of `count` groups a two-state channel loses, see `lose_groups`."""
    leave_loss, enter_loss = 1 / burst, loss / (burst * (1 - loss))
    losing = bool(generator.random() < loss)
    states = []
    for chance in generator.random(count):
        states.append(losing)
        losing = bool(chance >= leave_loss) if losing else bool(chance < enter_loss)
    return states
