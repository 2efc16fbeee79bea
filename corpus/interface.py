"""What training asks of a corpus: its recordings and an order of its frames."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from constants import LPC_WINDOW_LENGTH
from corpus.speech_file import SpeechFile


class Order(Protocol):
    """The training frames of an epoch in the order in which batches take them."""

    def contexts(
        self, places: NDArray[np.integer], *, pre_emphasis: bool, high_pass: bool, length: int = LPC_WINDOW_LENGTH
    ) -> NDArray[np.float32]:
        """Samples [batch, length] of the frames at these places [batch], as `PackedCorpus.contexts` gives them.

        Places beyond the last frame wrap round.
        """


class Corpus(Protocol):
    """What training reads: speech packed in one folder, or in shards.

    Attributes:
        left_out: one line with path and reason for each file that was too short, silent or broken.
    """

    left_out: list[str]

    def files(self, split: str) -> list[SpeechFile]:
        """The recordings of a split; of a training split that does not fit, a sample."""

    def speakers(self) -> dict[str, int]:
        """Number of speakers of each split."""

    def twins(self) -> list[tuple[SpeechFile, SpeechFile]]:
        """Pairs of recordings with the same samples in two splits."""

    def checksums(self) -> dict[str, str]:
        """Proof that the samples are the same: a checksum per recording or per shard."""

    def num_training_frames(self, consecutive: int = 1) -> int:
        """Number of audible training frames in complete runs of `consecutive` frames."""

    def order(self, seed_and_epoch: tuple[int, int], consecutive: int) -> Order:
        """The order of an epoch, whose runs of `consecutive` frames stay together."""
