"""Writes a trained model for the codec `nsc`, or as graphs that a program on another machine calls.

python -m export mymodel --model RUN             then: nsc encode speech.wav --model mymodel
python -m export folder --model RUN --format litert --weights int8
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nsc.console import Parser, exit_status, log, show_own_lines
from nsc.errors import UserError
from nsc.loading.find import DEFAULT_MODEL
from runs.machine import import_tensorflow

FORMATS = ("nsc", "litert", "savedmodel")
WEIGHTS = ("float32", "int8")


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    show_own_lines()
    return exit_status("export", lambda: _run(_parser().parse_args(list(arguments))))


def _parser() -> Parser:
    parser = Parser(prog="python -m export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder")
    parser.add_argument(
        "--model",
        default="",
        help=f"run id or its beginning, id/stage, hash or folder of a model (default: {DEFAULT_MODEL}, which ships)",
    )
    parser.add_argument("--format", choices=FORMATS, default="nsc", help="(default: %(default)s)")
    parser.add_argument("--weights", choices=WEIGHTS, default="float32", help="(default: %(default)s)")
    parser.add_argument("--layers", type=int, help="codecs of litert and savedmodel (default: all)")
    parser.add_argument("--check_dir", type=Path, default=Path("check"), help="folder of runs (default: %(default)s)")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.format == "nsc" and options.layers is not None:
        raise UserError("expected --layers with --format litert or savedmodel; nsc chooses layers when it codes")
    import_tensorflow()
    from export.codec_folder import export_codec
    from export.device import export_model
    from runs.saved_model import load_model
    from runs.stages import find_model

    model = load_model(find_model(options.model, options.check_dir))
    if options.format == "nsc":
        size = export_codec(model, options.folder, options.weights)
    else:
        size = export_model(model, options.folder, options.format, options.weights, options.layers)
    log.info("%s: %s, %s, %d bytes, model %s", options.folder, options.format, options.weights, size, model.digest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
