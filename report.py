"""Compares codecs on the same speech, and shows what was found.

python report.py measure --data_dir SPEECH --models ID ID/STAGE LABEL=ID --peers 'opus-*-cbr-*' 'amr-wb-*'
python report.py page
python report.py tables --output report
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comparison.cluster import add_flags, place_of
from comparison.results import Store, faults
from measures.measures import ALL_MEASURES, JURY, LOSS_MEASURES
from nsc import console
from nsc.console import Parser
from nsc.errors import UserError
from runs.machine import import_tensorflow

if TYPE_CHECKING:
    from comparison.coders import PeerCoder

PEERS = (
    "opus-av-audio-vbr-*",
    "opus-av-audio-cbr-*",
    "opus-av-wide-audio-vbr-*",
    "amr-wb-*",
    "lc3-*",
    "lyra-*",
    "evs-*",
    "codec2-3.2",
)
FAULTS_NAMED = 20


def _parser() -> Parser:
    parser = Parser(prog="report.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    output = Parser(add_help=False)
    output.add_argument("--output", type=Path, default=Path("report"), help="folder of results (default report)")

    def command(run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(run.__name__.removeprefix("_"), help=text, parents=[output] * (run is not _tables))
        made.set_defaults(run=run)
        return made

    def codecs(parser: argparse.ArgumentParser, text: str) -> None:
        parser.add_argument("--codecs", nargs="+", default=[], help=f"{text}: labels or names, or patterns of them")

    _add_measure(command(_measure, "code, decode and score files"))
    command(_draw, "curves and tables of what was measured")

    page = command(_page, "curves, tables and a page to listen to")
    codecs(page, "to listen to")
    page.add_argument("--files", type=int, default=8, help="to listen to (default 8)")
    page.add_argument("--title", default="Speech codecs", help="of the page (default Speech codecs)")

    export = command(_export, "a listening test for webMUSHRA")
    codecs(export, "to be rated")
    export.add_argument("--trials", type=int, default=10, help="files to rate (default 10)")
    export.add_argument("--to", type=Path, default=Path("webmushra"), help="folder of the test (default webmushra)")

    blind = command(_blind, "a blind listening test (MUSHRA or ABX) as a page")
    codecs(blind, "to be heard")
    blind.add_argument("--method", default="mushra", choices=["mushra", "abx"], help="default mushra")
    blind.add_argument("--trials", type=int, default=9, help="files, the first for practice (default 9)")
    blind.add_argument("--to", type=Path, default=Path("blind"), help="folder of the test (default blind)")

    ratings = command(_ratings, "answers of listeners, analysed")
    ratings.add_argument("files", type=Path, nargs="+", help="answers of our page, or mushra.csv of webMUSHRA")

    bits = command(_bits, "where the bits of a file go")
    bits.add_argument("--model", required=True, help="run id or its beginning, id/stage, hash or folder")
    bits.add_argument("--check_dir", type=Path, default=Path("check"), help="folder of models (default check)")
    bits.add_argument("files", type=Path, nargs="+", help="speech: the first is drawn, bins are counted over all")

    tables = command(_tables, "README, docs and figures, from the results kept with the code")
    tables.add_argument("--output", type=Path, help="keep the results of this folder first, in place of those kept")
    tables.add_argument("--corpus", default="", help="name of the test speech (default: that of its folder)")
    tables.add_argument(
        "--beside", default="", metavar="NAME", help="keep them in results/NAME, of sounds that no model was trained on"
    )

    spectrum = command(_spectrum, "where the noise of a codec is, by octave bands")
    codecs(spectrum, "to be drawn (default: our models)")
    spectrum.add_argument("--beside", default="opus-audio-*", help="codecs whose nearest rate is drawn alongside")
    return parser


def _add_measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data_dir", type=Path, required=True, help="corpus whose test speakers are used")
    parser.add_argument(
        "--models",
        nargs="*",
        default=[],
        help="run id or its beginning, id/stage, hash or folder; LABEL= before it, @KBPS after it",
    )
    parser.add_argument(
        "--peers", nargs="*", default=list(PEERS), help=f"names or patterns (default {' '.join(PEERS)})"
    )
    parser.add_argument(
        "--lyra_dir", type=Path, help="folder of Lyra V2's LiteRT files (default the environment's LYRA_DIR)"
    )
    parser.add_argument(
        "--measures",
        nargs="+",
        choices=list(ALL_MEASURES),
        help=f"default: all, {', '.join(LOSS_MEASURES)} with --losses only",
    )
    parser.add_argument(
        "--files_per_speaker", type=int, default=0, help="largest number of files of each speaker (default 0: all)"
    )
    parser.add_argument(
        "--losses",
        type=float,
        nargs="+",
        default=[0.0],
        help="per cent of lost groups or packets, where a codec conceals them (default 0)",
    )
    parser.add_argument("--burst", type=float, default=1.0, help="mean number lost in a row (default 1)")
    parser.add_argument(
        "--spans", type=int, nargs="*", default=[], help="further group lengths, in units of the model's shortest"
    )
    parser.add_argument(
        "--packets",
        type=int,
        nargs="*",
        default=[],
        metavar="REFRESH",
        help="also as in a call, in packets of the shortest length of which every REFRESH-th stands alone",
    )
    parser.add_argument(
        "--redundancy",
        type=float,
        nargs="*",
        default=[],
        metavar="KBPS",
        help="also in such packets that carry a copy of the one before, of KBPS within the rate",
    )
    parser.add_argument("--allow_overlap", action="store_true", help="test on speech used in training, too")
    parser.add_argument("--check_dir", type=Path, default=Path("check"), help="folder of models (default check)")
    parser.add_argument("--cache_dir", type=Path, default=Path("data/coded"), help="of coded files, safe to delete")
    add_flags(parser, processes=0)


def _measure(options: argparse.Namespace) -> None:
    from comparison.compare import Terms, compare, limit_threads
    from comparison.peers.lyra import use_folder

    limit_threads()
    losses = tuple(sorted({0.0, *(percent / 100 for percent in options.losses)}))
    measures = options.measures or [*JURY, *(LOSS_MEASURES if len(losses) > 1 else ())]
    if "visqol" in measures and not importlib.util.find_spec("numba"):
        console.log.info("ViSQOL takes 9 times as long without numba: pip install 'neural-speech-coding[visqol]'")
    if options.lyra_dir:
        use_folder(options.lyra_dir)
    store = Store(options.output)
    peers = _peers(options.peers, losses, options.burst, store)
    import_tensorflow()
    from comparison.coders import in_packets, model_coder, with_groups_of
    from comparison.speech import recordings_of, refuse_overlap, speech_to_test

    models = [model_coder(name, options.check_dir, losses, options.burst) for name in options.models]
    grouped = [with_groups_of(spans, model) for model in models for spans in options.spans]
    copies = [None, *options.redundancy]
    calls = [in_packets(*each) for each in itertools.product(options.packets, models, copies)]
    models += [*grouped, *calls]
    if not models and not peers:
        raise UserError("no codec to measure: name some that can be used here by --models or --peers")
    files = speech_to_test(options.data_dir, options.files_per_speaker)
    for model in models:
        refuse_overlap(model, files, options.data_dir, allowed=options.allow_overlap)
    results = compare(
        [*models, *peers],
        recordings_of(files, options.data_dir),
        store,
        Terms(options.data_dir.resolve(), options.cache_dir.resolve(), measures),
        place_of(options),
    )
    for line in faults(results)[:FAULTS_NAMED]:
        console.log.info("%s", line)
    console.log.info("%d results in %s", len(results), store.write_csv())


def _draw(options: argparse.Namespace) -> None:
    from comparison.figures.drawing import draw_all

    for path in draw_all(Store(options.output)):
        console.log.info("%s", path)


def _page(options: argparse.Namespace) -> None:
    from comparison.page.listening_page import write_page

    if options.files < 1:
        raise UserError(f"argument --files: expected at least 1, found {options.files}")
    console.log.info("%s", write_page(Store(options.output), options.codecs, options.files, options.title))


def _export(options: argparse.Namespace) -> None:
    from comparison.page.listening_test import export

    if options.trials < 1:
        raise UserError(f"argument --trials: expected at least 1, found {options.trials}")
    path = export(Store(options.output), options.codecs, options.trials, options.to)
    console.log.info("%s; copy %s into webMUSHRA and open it with ?config=%s", path, options.to / "configs", path.name)


def _blind(options: argparse.Namespace) -> None:
    from comparison.page.blind_test import write_blind_test

    store = Store(options.output)
    console.log.info("%s", write_blind_test(store, options.codecs, options.trials, options.to, options.method))


def _ratings(options: argparse.Namespace) -> None:
    from comparison.page.answers import report_answers

    print("\n".join(report_answers(options.files, options.output)))


def _tables(options: argparse.Namespace) -> None:
    from comparison.documents import Places, write_documents
    from comparison.kept import complete, kept_of, write_kept

    places = Places()
    if options.output:
        kept = complete(kept_of(Store(options.output), options.corpus))
        write_kept(kept, places.results / options.beside)
    for path in write_documents(places):
        console.log.info("%s", path)


def _bits(options: argparse.Namespace) -> None:
    import_tensorflow()
    from comparison.figures.bits import draw_bits
    from runs.saved_model import load_model
    from runs.stages import find_model

    model = load_model(find_model(options.model, options.check_dir))
    for line in draw_bits(model, options.files, options.output / "plots"):
        console.log.info("%s", line)


def _spectrum(options: argparse.Namespace) -> None:
    from comparison.figures.spectrum import draw_spectra

    for path in draw_spectra(Store(options.output), options.codecs, options.beside):
        console.log.info("%s", path)


def _peers(patterns: Sequence[str], losses: tuple[float, ...], burst: float, store: Store) -> list[PeerCoder]:
    """Those that can be used here; the others are named with the command that installs them, and so recorded."""
    from comparison.coders import PeerCoder
    from comparison.peers import baselines

    able, lacking = baselines.usable(baselines.find_peers(patterns))
    for need, names in lacking.items():
        console.log.info("without %s: needs %s", ", ".join(names), need)
        store.leave_out(dict.fromkeys(names, f"needs {need}"))
    return [PeerCoder(peer.name, losses, burst) if peer.conceals else PeerCoder(peer.name) for peer in able]


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    console.show_own_lines()

    def work() -> None:
        options = _parser().parse_args(list(arguments))
        options.run(options)

    return console.exit_status("report.py", work, "stopped; the same command continues")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background
    sys.exit(main(sys.argv[1:]))
