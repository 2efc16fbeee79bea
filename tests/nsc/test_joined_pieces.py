"""Pieces of a recording that are coded apart and joined: what the seam costs."""

import numpy as np
from numpy.typing import NDArray

import nsc
from measures.waveform import snr

Signal = NDArray[np.float32]
CUTS = (4_000, 9_600, 20_480, 24_800)  # samples, in the midst of words
NEAR = 160  # samples to either side of a seam


def test_pieces_coded_apart_keep_their_length_and_join_without_a_click(speech_signals: list[Signal]) -> None:
    model = nsc.load("cq")
    speech = speech_signals[0]

    def through(signal: Signal) -> Signal:
        return nsc.decode(nsc.encode(signal, model, quality=5)).signal

    whole, joined = through(speech), np.concatenate([through(piece) for piece in np.split(speech, CUTS)])
    assert len(joined) == len(speech)
    about = np.concatenate([np.arange(cut - NEAR, cut + NEAR) for cut in CUTS])
    assert speech[about].std() > speech.std()  # words, no pauses
    assert snr(speech[about], joined[about]) > snr(speech[about], whole[about]) - 4
    for cut in CUTS:
        near = np.abs(np.diff(speech[cut - NEAR : cut + NEAR]))
        assert abs(joined[cut] - joined[cut - 1]) < 2 * near.max()
