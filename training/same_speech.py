"""Check that a continued run has the samples that it began with."""

from __future__ import annotations

from corpus.interface import Corpus
from nsc.errors import UserError
from runs.runs import Run

SPEECH = "speech.json"  # checksum of the samples of every recording
MOST_NAMED = 3


def check_same_samples(run: Run, corpus: Corpus) -> None:
    """Records the samples of a run's speech when it begins, and compares them when it continues.

    Raises:
        UserError: a recording has other samples than when the run began.
    """
    found = corpus.checksums()
    if not (run.folder / SPEECH).exists():
        run.write_record(SPEECH, found)
        return
    known = run.read_record(SPEECH)
    if not isinstance(known, dict):
        raise UserError(f"expected checksums in {run.folder / SPEECH}, found something else; restore it, or give --new")
    other = [name for name in dict.fromkeys([*known, *found]) if known.get(name) != found.get(name)]
    if other:
        named = ", ".join(other[:MOST_NAMED]) + (" ..." if len(other) > MOST_NAMED else "")
        raise UserError(
            f"run {run.id} began with other samples in {len(other)} of {len(known)} recordings ({named}); restore them,"
            " or start another run by --new"
        )
