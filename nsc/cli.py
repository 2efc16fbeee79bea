"""Speech to .nsc files and back.

nsc speech.wav                       writes speech.nsc
nsc speech.nsc decoded.wav           decodes it; the suffix .nsc chooses the direction
nsc info speech.nsc                  what a file holds; needs no model
nsc call --listen PORT               a call over UDP; the other side says nsc call HOST:PORT
nsc COMMAND --help                   flags of encode, decode, info, truncate, regroup, models, demo, call
"""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nsc import format as bitstream
from nsc.arguments import MOST_KBPS, MOST_LAYERS, MOST_SPANS, check_rate
from nsc.console import Parser, exit_status, log, show_own_lines, shown
from nsc.constants import BEST_QUALITY, SAMPLE_RATE
from nsc.errors import UserError, brief
from nsc.loading.find import DEFAULT_MODEL, all_models, find_model
from nsc.streams import STANDARD, check_output, checked_name, is_pipe, output, read_bytes
from nsc.version import __version__

if TYPE_CHECKING:
    from nsc.coding.interface import Model
    from nsc.coding.playout import Damage

# numpy, soundfile and LiteRT are imported by the commands that need them: `info` takes a tenth of a second without.

SPEECH_SUFFIXES = (".wav", ".flac", ".ogg")  # of decoded speech
MOST_LOST_NAMED = 20  # lost groups that a message lists
HELP = "--help shows the usage"
DEMO_PORT = 8765
MOST_PORT, MOST_SEED, MOST_BURST = 65_535, (1 << 63) - 1, 1e6
MOST_CALL_FRAMES = 4  # of 40 ms, in a packet of a call
MOST_DELAY, MOST_WAIT = 2000.0, 3600.0  # milliseconds, seconds
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
RATE_MISSED = 0.03  # of the rate asked for, from which on a message says so
SHOWS_PROGRESS = 60.0  # seconds of speech, from which on a terminal shows how far coding is

Block = TypeVar("Block", bound=Sized)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    show_own_lines()
    words = list(sys.argv[1:] if arguments is None else arguments)
    return exit_status("nsc", lambda: _run(words))


def _run(words: list[str]) -> None:
    parser, commands = _parsers()
    if words and words[0] not in commands and words[0] not in ("-h", "--help", "--version"):
        words = [_direction(words, commands), *words]
    options = parser.parse_args(words)
    if not words:
        parser.print_help()
    else:
        options.run(options)


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    """The whole parser, and that of each command."""
    parser = Parser(prog="nsc", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"nsc {__version__}")
    added = parser.add_subparsers(title="commands", metavar="COMMAND")
    helps = {
        "encode": (_encode, "speech to an .nsc file"),
        "decode": (_decode, "an .nsc file to speech"),
        "info": (_info, "what an .nsc file holds"),
        "truncate": (_truncate, "cut an .nsc file to fewer layers"),
        "regroup": (_regroup, "other groups for an .nsc file, or packets, without coding it again"),
        "models": (_models, "list the models that can be found by name"),
        "demo": (_demo, "a page in the browser to code speech and listen"),
        "call": (_call, "talk to another nsc call over UDP, in RTP packets"),
    }
    commands = {}
    for name, (run, text) in helps.items():
        commands[name] = added.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        commands[name].set_defaults(run=run)
    _add_encoding(commands["encode"])
    _add_decoding(commands["decode"])
    commands["info"].add_argument("input", type=_name, help=".nsc file; - is standard input")
    _add_files(commands["truncate"], ".nsc file", "default: INPUT-LAYERS.nsc")
    commands["truncate"].add_argument("--layers", type=_layers, required=True, help="layers to keep")
    _add_files(commands["regroup"], ".nsc file", "default: INPUT-regrouped.nsc")
    _add_groups(commands["regroup"])
    commands["demo"].add_argument(
        "--port", type=_whole_number(0, MOST_PORT), default=DEMO_PORT, help="0: any (default: %(default)s)"
    )
    commands["demo"].add_argument("--no_browser", action="store_true", help="only say where the page is")
    _add_call(commands["call"])
    return parser, commands


def _add_files(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    parser.add_argument("input", type=_name, help=f"{source}; - is standard input")
    parser.add_argument("output", type=_name, nargs="?", help=f"{target}; - is standard output")
    parser.add_argument("--force", action="store_true", help="overwrite the output")


def _whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number within bounds."""

    def read(text: str) -> int:
        if not WHOLE_NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"expected a whole number from {lowest} to {highest}, found {brief(text)}")
        return int(text)

    return read


def _number(lowest: float, highest: float, *, above: bool = False) -> Callable[[str], float]:
    """The type of a flag that takes a number within bounds, of which the lowest may be left out."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not lowest <= value <= highest or (above and value == lowest):
            bounds = f"above {lowest:g}, at most {highest:g}" if above else f"from {lowest:g} to {highest:g}"
            raise argparse.ArgumentTypeError(f"expected a number {bounds}, found {brief(text)}")
        return value

    return read


def _name(text: str) -> str:
    try:
        return checked_name(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_layers = _whole_number(1, MOST_LAYERS)
_spans = _whole_number(1, MOST_SPANS)
_kbps = _number(0, MOST_KBPS, above=True)


def _add_model_and_rate(parser: argparse.ArgumentParser, of: str) -> None:
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name, hash or folder (default: %(default)s)")
    parser.add_argument("--layers", type=_layers, help="layers of the model to use (default: all)")
    parser.add_argument("--kbps", type=_kbps, help=f"rate of the {of} (default: the model's own)")
    parser.add_argument("--quality", type=_number(0, BEST_QUALITY), help="0 to 10, in place of --kbps")
    parser.add_argument("--cbr", action="store_true", help="no group or packet takes more than --kbps")


def _add_encoding(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, "speech of any rate (wav, flac, ogg, NIST SPHERE)", "default: INPUT with suffix .nsc")
    _add_model_and_rate(parser, "whole file")
    _add_groups(parser)
    parser.add_argument("--spans", type=_spans, help="older models: stretches of 0.48 s in a group (default: 1)")


def _add_groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frames_per_group", type=_spans, help="frames of 40 ms in a group, 1 to 16 (default: 16): delay against bytes"
    )
    parser.add_argument(
        "--refresh",
        type=_spans,
        metavar="N",
        help="write packets for calls, 40 ms each by default, of which every N-th decodes on its own (usual: 5)",
    )


def _add_decoding(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, ".nsc file", "wav, flac or ogg (default: INPUT with suffix .wav)")
    parser.add_argument("--model", help="name, hash or folder (default: found by the hash in the file)")
    parser.add_argument("--layers", type=_layers, help="layers to decode (default: all that the file has)")
    parser.add_argument(
        "--loss", type=_number(0, 1), default=0.0, help="fraction of groups to lose, for research (default: 0)"
    )
    parser.add_argument("--burst", type=_number(1, MOST_BURST), help="mean number of groups lost in a row (default: 1)")
    parser.add_argument("--seed", type=_whole_number(0, MOST_SEED), help="of the losses (default: 0)")


def _add_call(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", type=_address, nargs="?", metavar="HOST:PORT", help="the other side, which listens")
    parser.add_argument(
        "--listen", type=_whole_number(0, MOST_PORT), metavar="PORT", help="wait for a call; 0: any port"
    )
    parser.add_argument("--bind", help="address of this machine to use (default: 127.0.0.1 with --listen)")
    parser.add_argument("--key", type=_name, help="file with the key that both sides have, for SRTP")
    parser.add_argument("--input", type=_name, help="recording to send (default: the microphone)")
    parser.add_argument("--output", type=_name, help="wav, flac or ogg of what comes (default: the loudspeaker)")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    _add_model_and_rate(parser, "stream that is sent")
    parser.add_argument(
        "--frames_per_packet",
        type=_whole_number(1, MOST_CALL_FRAMES),
        default=1,
        help="of 40 ms (default: %(default)s)",
    )
    parser.add_argument(
        "--refresh", type=_spans, default=1, help="every N-th packet decodes on its own (default: %(default)s)"
    )
    parser.add_argument(
        "--redundancy", type=_kbps, help="kbps, out of --kbps, for a coarse copy of the previous packet"
    )
    parser.add_argument("--dtx", action="store_true", help="send next to nothing in pauses")
    parser.add_argument(
        "--delay",
        type=_number(0, MOST_DELAY),
        default=60,
        help="ms by which the jitter buffer delays speech (default: %(default)s)",
    )
    parser.add_argument(
        "--wait",
        type=_number(0, MOST_WAIT, above=True),
        default=30,
        help="seconds without a packet that end the call (default: %(default)s)",
    )


def _address(text: str) -> tuple[str, int]:
    """The host and the port of HOST:PORT, with the brackets of an IPv6 address."""
    host, colon, port = text.rpartition(":")
    if not (host and colon) or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, found {brief(text)}")
    return host.strip("[]"), _whole_number(1, MOST_PORT)(port)


def _direction(words: list[str], commands: Mapping[str, Parser]) -> str:
    """Encode or decode, by the suffixes of the files among all words."""
    flags = commands["encode"].flags() | commands["decode"].flags()
    files, rest = list[str](), iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        if word == "--":
            files += rest
        elif word == STANDARD or not word.startswith("-"):
            files.append(word)
        elif name not in flags:
            nearest = difflib.get_close_matches(name, flags, 1)
            raise UserError(f"unknown flag {name}; " + (f"did you mean {nearest[0]}?" if nearest else HELP))
        elif flags[name] and not equals:
            next(rest, None)
    if not 1 <= len(files) <= 2:
        raise UserError(f"expected an input and an output, found {len(files)} names; {HELP}")
    are_nsc = [Path(name).suffix.lower() == bitstream.SUFFIX for name in files]
    if all(are_nsc) and len(files) == 2:
        raise UserError("expected speech on one side, found .nsc on both; nsc truncate cuts layers")
    if any(are_nsc):
        return "decode" if are_nsc[0] else "encode"
    if len(files) == 2 and not any(map(is_pipe, files)):
        raise UserError(f"one of the two files must end in .nsc (got {files[0]} and {files[1]})")
    if is_pipe(files[0]):
        raise UserError("expected a file that ends in .nsc, found pipes; say nsc encode or nsc decode")
    return "encode"


def _encode(options: argparse.Namespace) -> None:
    check_rate(options.kbps, options.quality, options.cbr)
    target = _target(options, (bitstream.SUFFIX,), "coded speech")
    from nsc.audio import open_speech
    from nsc.coding.encoder import Coding
    from nsc.coding.whole import Rate, encoded_blocks
    from nsc.loading.folder import load

    source = read_bytes(options.input) if is_pipe(options.input) else Path(options.input)
    _show("reading")  # to its end, for length and channels
    speech = open_speech(source, options.input)
    _show("")
    said = _say(speech.notes, options.input)
    if speech.converted:
        log.info("%s: %d Hz and %d channels become 16 kHz mono", options.input, speech.rate, speech.channels)
    model = load(find_model(options.model))
    coding = Coding(model, options.layers, _group_length(options, model), options.refresh)
    rate = Rate(options.kbps, options.quality, options.cbr)
    seconds, size, written = speech.num_samples / SAMPLE_RATE, 0, list[bytes]()
    blocks = _Progress(speech.blocks, speech.num_samples)
    with output(target) as file:
        for data in encoded_blocks(blocks, speech.num_samples, coding, rate):
            size += file.write(data)
            written += [data] if options.refresh else []  # of long recordings nothing is kept
    _say(speech.notes[said:], options.input)
    sent, within = (bitstream.sent_bytes(b"".join(written)), " in packets") if options.refresh else (size, "")
    kbps = 8 * sent / 1000 / seconds
    log.info("%s: %.2f s, %d bytes, %.2f kbps%s, model %s", target, seconds, size, kbps, within, model.digest)
    if options.kbps and not options.cbr and abs(kbps / options.kbps - 1) > RATE_MISSED:
        log.info("%s: asked for %g kbps; no step size of this model comes nearer", target, options.kbps)


def _say(notes: Sequence[str], name: str) -> int:
    """Shows notes on a file; returns their number."""
    for note in notes:
        log.info("%s: %s", name, note)
    return len(notes)


def _group_length(options: argparse.Namespace, model: Model) -> int | None:
    """Frames or spans in a group, whichever the model counts by."""
    asked = {name: getattr(options, name) for name in ("frames_per_group", "spans")}
    length: int | None = asked.pop(model.unit.name)
    for name, value in asked.items():
        if value is not None:
            raise UserError(f"argument --{name}: not supported by this model; use --{model.unit.name}")
    return length


def _decode(options: argparse.Namespace) -> None:
    if not options.loss and (options.burst is not None or options.seed is not None):
        raise UserError("argument --burst, --seed: only with --loss, the fraction of groups to lose")
    target = _target(options, SPEECH_SUFFIXES, "decoded speech")
    data = read_bytes(options.input)
    if options.loss:
        from nsc.format.channel import lose_groups

        burst = 1.0 if options.burst is None else options.burst
        data = lose_groups(data, options.loss, burst, options.seed or 0)
    header = bitstream.unpack_header(data)
    model = _model_for(data, options.model)
    from nsc.audio import write_speech
    from nsc.coding.decoder import Decoder
    from nsc.coding.whole import decoded_blocks

    decoder = Decoder(model, options.layers)
    blocks = _Progress(decoded_blocks(data, decoder), header.num_samples or 0)
    with output(target, seeks=True) as file:
        count = write_speech(file, blocks, Path(target).suffix.lower())
    log.info("%s: %.2f s%s", target, count / SAMPLE_RATE, "".join(f"; {each}" for each in _damage(decoder.damage)))


def _model_for(data: bytes, name: str | None) -> Model:
    from nsc.api import load, model_of

    return load(name) if name else model_of(data)


def _target(options: argparse.Namespace, suffixes: Sequence[str], content: str) -> str:
    """The output's name, by default the input's with another suffix, the first one."""
    target = options.output
    if target is None:
        target = STANDARD if is_pipe(options.input) else str(Path(options.input).with_suffix(suffixes[0]))
    _check_target(options, str(target), suffixes, content)
    return str(target)


def _check_target(options: argparse.Namespace, target: str, suffixes: Sequence[str], content: str) -> None:
    if not is_pipe(target) and not Path(target).is_dir() and Path(target).suffix.lower() not in suffixes:
        raise UserError(f"expected a name that ends in {' or '.join(suffixes)} for {content}, found {target}")
    check_output(options.input or "", target, force=options.force)


class _Progress(Iterable[Block]):
    """Blocks; a terminal shows what share of the samples they have made up so far, and how long the rest takes."""

    def __init__(self, blocks: Iterable[Block], total: int) -> None:
        self._blocks, self._total, self._passes = blocks, total, 0

    def __iter__(self) -> Iterator[Block]:
        shows = self._total > SHOWS_PROGRESS * SAMPLE_RATE
        done, start = 0, time.monotonic()
        self._passes += 1
        named = f"pass {self._passes}: " if self._passes > 1 else ""
        for block in self._blocks:
            yield block
            done += len(block)
            if shows:
                left = (time.monotonic() - start) * (self._total / max(done, 1) - 1)
                _show(f"{named}{100 * done / self._total:3.0f} %, {_clock(left)} left")
        if shows:
            _show("")


def _show(line: str) -> None:
    """A line in the place of the one before, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{line:40}\r", end="", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _damage(damage: Damage, of: str = "groups") -> Iterator[str]:
    if damage.lost:
        more = " ..." if len(damage.lost) > MOST_LOST_NAMED else ""
        names = " ".join(map(str, damage.lost[:MOST_LOST_NAMED])) + more
        yield f"{len(damage.lost)} {of} lost and concealed ({names})"
    if damage.restored:
        yield f"{len(damage.restored)} heard from the copy in the next one"
    if damage.damaged_bytes:
        yield f"{damage.damaged_bytes} damaged bytes"
    if damage.end_missing:
        yield "the end is missing"
    if damage.another_follows:
        yield "another .nsc file follows, which is not decoded; split them"


def _info(options: argparse.Namespace) -> None:
    data = read_bytes(options.input)
    found = bitstream.info(data)
    header = found.header
    model = next((each for each in all_models() if each.digest == header.model), None)
    named = f" ({model.name})" if model else ""
    duration = "unknown, the end is missing" if found.seconds is None else f"{found.seconds:.2f} s"
    lines = {
        "model": f"{header.model}{named}",
        "duration": duration,
        "parts": f"{', '.join(header.part_names)}; groups of {header.group_frames} frames",
        "delay": f"{1000 * header.delay_samples / SAMPLE_RATE:.0f} ms",
    }
    sent = bitstream.sent_bytes(data)
    if sent < len(data) and found.seconds:
        lines["packets"] = f"{sent} bytes, {8 * sent / 1000 / found.seconds:.3f} kbps"
    if found.missing or found.bytes["damaged"]:
        lines["damage"] = f"{found.missing} groups missing, {found.bytes['damaged']} bytes damaged"
    if model and header.layers > model.depth:
        lines["damage"] = f"{header.layers} layers, of which the model has {model.depth}: it cannot be decoded"
    elif model:
        layers = header.layers - 1
        multiply_adds = model.multiply_adds[layers] / 1e9
        lines["cost"] = (
            f"{model.parameters[layers]:,} parameters, {multiply_adds:.2f} billion multiply-adds per second of speech"
        )
    for name, text in lines.items():
        print(shown(f"{name:9} {text}"))
    for name, size in [*found.bytes.items(), ("all", len(data))]:
        if size:
            kbps = 8 * size / 1000 / found.seconds if found.seconds else float("nan")
            print(f"{name:9} {size:9} bytes  {kbps:7.3f} kbps  {100 * size / len(data):5.1f} %")


def _truncate(options: argparse.Namespace) -> None:
    _change(options, str(options.layers), lambda data: bitstream.truncate(data, options.layers))


def _regroup(options: argparse.Namespace) -> None:
    from nsc.api import regroup

    _change(options, "regrouped", lambda data: regroup(data, spans=options.frames_per_group, refresh=options.refresh))


def _change(options: argparse.Namespace, suffix: str, change: Callable[[bytes], bytes]) -> None:
    """Writes what becomes of an .nsc file, by default beside it."""
    if options.output is None and not is_pipe(options.input):
        path = Path(options.input)
        options.output = str(path.with_name(f"{path.stem}-{suffix}{path.suffix}"))
    target = _target(options, (bitstream.SUFFIX,), "coded speech")
    data = change(read_bytes(options.input))
    with output(target) as file:
        file.write(data)
    log.info("%s: %d bytes", target, len(data))


def _demo(options: argparse.Namespace) -> None:
    from nsc.demo.server import serve

    serve(options.port, opens_browser=not options.no_browser)


def _call(options: argparse.Namespace) -> None:
    check_rate(options.kbps, options.quality, options.cbr)
    if (options.address is None) == (options.listen is None):
        raise UserError(f"expected HOST:PORT or --listen PORT, found {'neither' if options.listen is None else 'both'}")
    if options.output:
        _check_target(options, options.output, SPEECH_SUFFIXES, "received speech")
    from nsc.call.command import call

    session, count = call(options)
    name = options.output or "call"
    found = "".join(f"; {each}" for each in _damage(session.damage, "packets"))
    log.info("%s: %.2f s%s", name, count / SAMPLE_RATE, found)
    log.info("%s: %s", name, session.statistics)
    if session.failed:
        raise UserError(session.failed)


def _models(options: argparse.Namespace) -> None:
    print(f"{'name':12} {'hash':8} {'kbps':>5} {'layers':>6} {'parameters':>11}  folder")
    for model in all_models():
        kbps = f"{model.kbps:.1f}" if model.kbps else "-"
        default = " (default)" if model.name == DEFAULT_MODEL else "" if model.encodes else " (only decodes)"
        line = f"{model.name:12} {model.digest:8} {kbps:>5} {model.depth:6} {model.parameters[-1]:11,}  {model.folder}"
        print(shown(line + default))
