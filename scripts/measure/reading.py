"""Cost of reading training speech: processor time, memory, and the time to resume in mid-epoch.

python -m scripts.measure.reading --data_dir SPEECH
python -m scripts.measure.reading --data_dir SPEECH --hours 60000

Rates are frames per second of processor time, all threads together, so that other load on the machine counts little.
With `--hours` the manifest lists the packed shards over and over, until there is so much speech in name: what such a
corpus costs in memory and time does not depend on what its shards hold.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from corpus.batches import PREFETCHED_BATCHES, steps_in_epoch, training_batches
from corpus.find import find_speech
from corpus.interface import Corpus
from corpus.shard_manifest import SHARDS
from corpus.shards import Packing, open_corpus, pack_shards
from nsc.console import exit_status
from utilities import atomic_write

GAIN = "group"
KINDS: dict[str, dict[str, Any]] = {  # columns of the table
    "plain": {},
    "runs of 4": {"consecutive": 4},
    "high-pass": {"high_pass": True},
    "1 of 8 workers": {"share": (0, 8)},
}


@dataclass
class Cost:
    """What one kind of corpus costs.

    first_batch: seconds on the clock from opening the corpus to a batch in the middle of an epoch.
    megabytes: most anonymous memory beyond that before opening.
    rates: frames per second of processor time, for each of `KINDS`.
    """

    first_batch: float
    megabytes: float
    rates: dict[str, float]


def anonymous_megabytes() -> float:
    """Memory of this process that is not backed by a file."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


def rate(corpus: Corpus, batch_size: int, first_step: int, steps: int, **changes: Any) -> float:
    """Frames per second of processor time over some batches of an epoch, after those that open the files."""
    options: dict[str, Any] = {"seed": 0, "epoch": 0, "pre_emphasis": True, "high_pass": False} | changes
    end = first_step + steps + 2 * PREFETCHED_BATCHES
    found = iter(training_batches(corpus, batch_size=batch_size, first_step=first_step, num_steps=end, **options))
    for _ in range(PREFETCHED_BATCHES):
        next(found)
    start = time.process_time()
    frames = sum(len(batch) for batch, _ in zip(found, range(steps), strict=False))
    return frames / (time.process_time() - start)


def cost(data_dir: Path, cache: Path, batch_size: int, steps: int) -> Cost:
    """Opens a corpus and reads from the middle of an epoch on."""
    before, start = anonymous_megabytes(), time.perf_counter()
    corpus = open_corpus(find_speech(data_dir), data_dir, cache, GAIN)
    middle = steps_in_epoch(corpus, batch_size) // 2
    rate(corpus, batch_size, middle, 1)
    first_batch, most, rates = time.perf_counter() - start, anonymous_megabytes(), {}
    for kind, changes in KINDS.items():
        rates[kind] = rate(corpus, batch_size, middle, steps, **changes)
        most = max(most, anonymous_megabytes())
    return Cost(first_batch, most - before, rates)


def pretend(packed: Path, hours: float, folder: Path) -> Path:
    """A packed corpus of nominally that many hours, whose manifest lists the same shards repeatedly."""
    manifest = json.loads((packed / SHARDS).read_text())
    times = int(np.ceil(hours / manifest["hours"]))
    shards = [shard | {"name": str((packed / shard["name"]).resolve())} for shard in manifest["shards"]]
    folder.mkdir()
    atomic_write(folder / SHARDS, json.dumps(manifest | {"shards": shards * times, "hours": times * manifest["hours"]}))
    return folder


def measure(data_dir: Path, shard_hours: float, hours: float, batch_size: int, steps: int) -> str:
    """The table.

    Raises:
        UserError: no speech in `data_dir`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        packed, cache = Path(scratch, "packed"), Path(scratch, "cache")
        start = time.process_time()
        manifest = pack_shards(Packing(str(data_dir), GAIN, shard_hours), packed)
        told = f"packed {manifest['hours'] / (time.process_time() - start) * 3600:.0f} hours an hour of processor time"
        corpora = {"one file": data_dir, f"{len(manifest['shards'])} shards": packed}
        open_corpus(find_speech(data_dir), data_dir, cache, GAIN)  # packing is not what is measured below
        cost(packed, cache, batch_size, 1)  # nor what TensorFlow takes at its first use
        if hours:
            corpora[f"{hours:g} h of shards"] = pretend(packed, hours, Path(scratch, "pretended"))
        rows = {name: cost(folder, cache, batch_size, steps) for name, folder in corpora.items()}
    cells = [[name, row.first_batch, row.megabytes, *row.rates.values()] for name, row in rows.items()]
    headers = ["corpus", "s to a batch amid", "MB", *(f"frames/s, {kind}" for kind in KINDS)]
    return f"{tabulate(cells, headers, floatfmt=('', '.2f', '.0f', *('.0f' for _ in KINDS)))}\n{told}"


def main(arguments: list[str] | None = None) -> int:
    """Runs the measurement; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="speech, as main.py takes it")
    parser.add_argument("--shard_hours", type=float, default=Packing.shard_hours, help="hours a shard (default 2)")
    parser.add_argument("--hours", type=float, default=0.0, help="measure also that many nominal hours (default none)")
    parser.add_argument("--batch_size", type=int, default=128, help="frames per batch (default 128)")
    parser.add_argument("--steps", type=int, default=1000, help="batches a measurement (default 1000)")
    options = parser.parse_args(arguments)
    return exit_status("reading.py", lambda: print(measure(**vars(options))))


if __name__ == "__main__":
    sys.exit(main())
