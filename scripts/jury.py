"""Scores codecs by the whole jury of measures, one row a condition: to choose a model, on validation speakers.

python -m scripts.jury --data_dir SPEECH --models cq@9 new=ID@9 new=ID@16 --peers 'opus-av-audio-vbr-9' --files 12
python -m scripts.jury --data_dir REFERENCES --split test --decoded mine=DECODED other=ELSEWHERE

Results are kept in --output and continued from there. The rule for choices is in docs/comparison.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from comparison.cluster import Place
from comparison.coders import Coder, PeerCoder, in_packets, model_coder, with_groups_of
from comparison.compare import Terms, compare, limit_threads
from comparison.decoded import decoded_folder
from comparison.numbers.curves import paired_differences
from comparison.numbers.points import Point, points_of
from comparison.numbers.tables import jury_table, paired_table
from comparison.peers import baselines
from comparison.results import Result, Store, faults
from comparison.speech import groups_of, recordings_of, refuse_overlap, speech_to_test
from corpus.speech_file import SPLITS
from measures.measures import ALL_MEASURES, JURY
from nsc import console
from nsc.errors import UserError

CHOOSERS = tuple(name for name in JURY if name not in ("pesq_wb_padded", "snr"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="corpus, or folder of references")
    parser.add_argument("--split", default="val", choices=SPLITS, help="speakers to score (default val)")
    parser.add_argument("--files", type=int, default=12, help="how many, spread over the speakers (default 12; 0: all)")
    parser.add_argument("--by", nargs="*", default=[], metavar="COLUMN", help="of the manifest: a table for each value")
    parser.add_argument(
        "--models", nargs="*", default=[], help="run id, id/stage, hash or folder; LABEL= before it, @KBPS after it"
    )
    parser.add_argument("--spans", type=int, help="length of a group, in units of the model's shortest")
    parser.add_argument(
        "--packets", type=int, metavar="REFRESH", help="as in a call, in packets of which every REFRESH-th stands alone"
    )
    parser.add_argument("--peers", nargs="*", default=[], help="names or patterns of other codecs")
    parser.add_argument("--decoded", nargs="*", default=[], help="folders of decoded files; LABEL= before them")
    parser.add_argument("--measures", nargs="+", default=list(CHOOSERS), choices=list(ALL_MEASURES), metavar="MEASURE")
    parser.add_argument("--check_dir", type=Path, default=Path("check"), help="folder of models (default check)")
    parser.add_argument("--output", type=Path, default=Path("report/jury"), help="keeps results (default report/jury)")
    parser.add_argument("--cache_dir", type=Path, default=Path("data/coded"), help="of coded files, safe to delete")
    parser.add_argument("--processes", type=int, default=1, help="worker processes (default 1)")
    return parser


def _score(options: argparse.Namespace) -> None:
    limit_threads()
    files = speech_to_test(options.data_dir, split=options.split)
    if options.files:
        files = files[:: max(1, len(files) // options.files)][: options.files]
    models = [model_coder(name, options.check_dir) for name in options.models]
    if options.split == "test":
        for model in models:
            refuse_overlap(model, files, options.data_dir, allowed=True)
    if options.spans:
        models = [with_groups_of(options.spans, model) for model in models]
    if options.packets:
        models = [in_packets(options.packets, model) for model in models]
    peers = [PeerCoder(peer.name) for peer in baselines.find_peers(options.peers)]
    folders = [decoded_folder(name, files, options.data_dir) for name in options.decoded]
    coders: list[Coder] = [*models, *folders, *peers]
    if not coders:
        raise UserError("expected something to score; give --models, --peers or --decoded")
    store = Store(options.output)
    results = compare(
        coders,
        recordings_of(files, options.data_dir),
        store,
        Terms(options.data_dir.resolve(), options.cache_dir.resolve(), options.measures),
        Place(processes=options.processes),
    )
    for line in faults(results):
        console.log.info("%s", line)
    names = [coder.codec.name for coder in coders]
    points = points_of([coder.codec for coder in coders], results)
    if not points:
        raise UserError("expected files that could be coded, found none; the lines above give the reasons")
    points.sort(key=lambda point: names.index(point.codec.name))
    for title, group in groups_of(files, options.data_dir, options.by).items():
        own = {os.path.relpath(file.path, options.data_dir) for file in group}
        parts = [part for point in points if (part := point.part(partial(_is_among, own)))]
        print(f"\n{title}\n" * bool(title) + _tables(parts))
    console.log.info("every file: %s", store.write_csv())


def _is_among(files: set[str], result: Result) -> bool:
    return result.file in files


def _tables(points: Sequence[Point]) -> str:
    """Every condition, and the differences from the first."""
    parts = [jury_table(points)]
    first, *others = points
    if others:
        parts.append(f"Differences from {first.label}, in pairs of each speaker")
        parts.append(paired_table([(other.label, paired_differences(other, first)) for other in others]))
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Scores what the command line names; returns the exit status."""
    console.show_own_lines()
    work = lambda: _score(_parser().parse_args(list(arguments)))  # noqa: E731
    return console.exit_status("jury.py", work, "stopped; the same command continues")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
