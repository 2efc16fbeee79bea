"""Packs speech of any amount into shards, from which training reads as a stream: --data_dir takes the folder.

python -m scripts.pack_corpus --data_dir /path/to/speech --output /path/to/packed --processes 16

Stopped and started again, it goes on; docs/data.md describes the folder.
"""

import argparse
import sys
from pathlib import Path

from corpus.shards import Packing, pack_shards
from nsc.console import exit_status


def main(arguments: list[str] | None = None) -> int:
    """Packs one corpus; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="speech, as main.py takes it")
    parser.add_argument("--output", type=Path, required=True, help="folder of the packed corpus")
    parser.add_argument("--shard_hours", type=float, default=Packing.shard_hours, help="hours a shard (default 2)")
    parser.add_argument("--gain", choices=("group", "utterance"), default=Packing.gain, help="as main.py's --gain")
    parser.add_argument("--seed", type=int, default=Packing.seed, help="of held out speakers and of the order")
    parser.add_argument("--processes", type=int, default=1, help="shards packed at the same time (default 1)")
    options = parser.parse_args(arguments)
    if options.shard_hours <= 0 or options.processes < 1:
        parser.error("--shard_hours and --processes take numbers above 0")
    return exit_status("pack_corpus.py", lambda: _pack(options))


def _pack(options: argparse.Namespace) -> None:
    packing = Packing(options.data_dir, options.gain, options.shard_hours, options.seed)
    manifest = pack_shards(packing, options.output, options.processes)
    for line in manifest["left_out"]:
        print(f"skipped: {line}", file=sys.stderr)
    speakers = ", ".join(f"{split} {number}" for split, number in manifest["speakers"].items())
    print(f"{options.output}: {manifest['hours']:.2f} h in {len(manifest['shards'])} shards; speakers: {speakers}")


if __name__ == "__main__":
    sys.exit(main())
