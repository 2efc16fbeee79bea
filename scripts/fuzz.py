"""Fuzzer of files of every model that ships, of models and of audio headers, under valid checksums.

python -m scripts.fuzz --count 100000 --seed 7
python -m scripts.fuzz --what models --count 1000
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nsc.console import exit_status, show_own_lines


@dataclass
class Summary:
    """The outcome of a run.

    outcomes: how often each ended so.
    broken: seed, trial and error of every promise not kept.
    slowest: seconds of the processor that the slowest took, and its trial.
    """

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """For people."""
        ends = [f"  {count:9,} {name}" for name, count in self.outcomes.most_common()]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return [
            f"{self.tried:,} inputs in {self.seconds:.0f} s of processor time",
            *ends,
            f"slowest {1000 * self.slowest[0]:.0f} ms (trial {self.slowest[1]}), largest memory {memory:.0f} MB",
            f"{len(self.broken)} broken promises",
            *self.broken,
        ]


Try = Callable[[np.random.Generator], str]  # tries one input and says how that ended


def fuzz(attempt: Try, count: int, seed: int) -> Summary:
    """Tries `count` inputs; the same seed tries the same ones, each decided by (seed, trial) alone."""
    summary = Summary()
    with suppress(KeyboardInterrupt):  # what was tried until then counts
        for trial in tqdm(range(count), disable=None):
            start = time.process_time()
            try:
                summary.outcomes[attempt(np.random.default_rng((seed, trial)))] += 1
            except Exception as error:  # whatever else comes out is what is looked for
                summary.outcomes[f"broken: {type(error).__name__}"] += 1
                summary.broken.append(f"seed {seed}, trial {trial}: {error!r}")
            took = time.process_time() - start
            summary.tried += 1
            summary.seconds += took
            summary.slowest = max(summary.slowest, (took, trial))
    return summary


def streams(seed: int) -> Try:
    """Files of every model that ships, through the decoder."""
    from scripts.fuzzing.streams import LONGEST_BLOCK, mutated, outcome
    from scripts.fuzzing.targets import files_of, shipped_targets

    models = shipped_targets()
    files, by_hash = files_of(models, np.random.default_rng(seed)), {model.digest: model for model in models}
    return lambda generator: outcome(mutated(files, generator), by_hash, int(generator.integers(1, LONGEST_BLOCK)))


def models(seed: int) -> Try:
    """Saved models, to the loader."""
    from runs.runs import SHIPPED
    from scripts.fuzzing.choice import one_of
    from scripts.fuzzing.models import MutatedModels, outcome

    place = Path(tempfile.mkdtemp()) / "model"
    mutations = [MutatedModels(path.parent, place) for path in sorted(SHIPPED.glob("*/stages/*/model.json"))]
    return lambda generator: outcome(one_of(mutations, generator).make(generator))


def folders(seed: int) -> Try:
    """Folders of models, to the codec."""
    from scripts.fuzzing.folders import MutatedFolders, outcome

    mutations = MutatedFolders(Path(tempfile.mkdtemp()) / "model")
    return lambda generator: outcome(mutations.make(generator), generator)


def commands(seed: int) -> Try:
    """Command lines, to the command."""
    from scripts.fuzzing.commands import Commands

    return Commands(Path(tempfile.mkdtemp())).outcome


def sequences(seed: int) -> Try:
    """Calls of a decoder in any order, with files of every model that ships."""
    from scripts.fuzzing.sequences import Sequences
    from scripts.fuzzing.targets import shipped_targets

    return Sequences(shipped_targets(), np.random.default_rng(seed)).outcome


def packets(seed: int) -> Try:
    """Packets in any order, with models on the lapped spectrum."""
    from scripts.fuzzing.packets import Calls
    from scripts.fuzzing.targets import SpectralTarget, shipped_targets

    models = [model for model in shipped_targets() if isinstance(model, SpectralTarget)]
    return Calls(models, np.random.default_rng(seed)).outcome


def datagrams(seed: int) -> Try:
    """Datagrams of anybody, to a side of a call."""
    from scripts.fuzzing.datagrams import Datagrams
    from scripts.fuzzing.targets import SpectralTarget, shipped_targets

    models = [model for model in shipped_targets() if isinstance(model, SpectralTarget)]
    return Datagrams(models, np.random.default_rng(seed)).outcome


def sounds(seed: int) -> Try:
    """Recordings of all containers, to samples."""
    from scripts.fuzzing.sounds import mutated, outcome, recordings

    files = recordings()
    return lambda generator: outcome(mutated(files, generator))


KINDS = {
    "streams": streams,
    "sequences": sequences,
    "packets": packets,
    "datagrams": datagrams,
    "models": models,
    "folders": folders,
    "commands": commands,
    "sounds": sounds,
}


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status: 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=list(KINDS), default="streams", help="kind of input (default %(default)s)")
    parser.add_argument("--count", type=int, default=10_000, help="inputs to try (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (default %(default)s)")
    options = parser.parse_args(list(arguments))
    show_own_lines()
    return exit_status("fuzz.py", lambda: _fuzz(options))


def _fuzz(options: argparse.Namespace) -> int:
    summary = fuzz(KINDS[options.what](options.seed), options.count, options.seed)
    print("\n".join(summary.lines()))
    return 1 if summary.broken else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background
    sys.exit(main(sys.argv[1:]))
