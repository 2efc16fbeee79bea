"""Speech files to .nsc files and back; what an .nsc file holds; cutting it to fewer layers; models for other machines.

python codec.py speech.wav speech.nsc               python codec.py info speech.nsc
python codec.py speech.nsc decoded.wav              python codec.py truncate speech.nsc small.nsc --layers 1
python codec.py export folder --model ID --format litert --weights int8
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np
import soundfile
from numpy.typing import NDArray

from constants import SAMPLE_RATE
from nsc import console
from nsc import format as bitstream
from nsc.errors import UserError
from utilities import atomic_write, group_levels, load_speech, to_int16

if TYPE_CHECKING:
    from nsc.coding.streaming import Damage
    from runs.saved_model import SavedModel

DEFAULT_MODEL = "cq-24k"  # of those that ship, the one that sounds best
STANDARD = "-"
COMMANDS = ("info", "truncate", "export")
FORMATS = ("litert", "savedmodel")
WEIGHTS = ("float32", "int8")
SAMPLE_BLOCK = 60 * SAMPLE_RATE  # samples given to the encoder at once: an hour of speech is not copied whole
BYTE_BLOCK = 1 << 16
MOST_LOST_NAMED = 20  # lost groups that a message lists
INTERRUPTED = 130

Signal = NDArray[np.float32]


class Decoded(NamedTuple):
    """A decoded signal, float32 [n] at 16 kHz, and what had to be made up in it."""

    signal: Signal
    damage: Damage


def encode(signal: Signal, model: SavedModel, layers: int | None = None, *, spans: int = 1) -> bytes:
    """An .nsc file of a signal.

    Args:
        signal: float32 [n] of 16 kHz, full scale 1.
        model: what to code with.
        layers: codecs of the cascade to use; None for all.
        spans: stretches of 16 frames (0.48 s) in a group; longer groups cost fewer bytes and more delay.

    Raises:
        UserError: samples that are not finite, or more layers than the model has.
    """
    fixed = int(group_levels(signal, "utterance")[0]) if model.cascade.config.gain == "utterance" else None
    blocks = (signal[start : start + SAMPLE_BLOCK] for start in range(0, max(1, len(signal)), SAMPLE_BLOCK))
    return _encoded(Speech(len(signal), blocks), model, layers, spans, fixed)


class Speech(NamedTuple):
    """Speech of 16 kHz that arrives in blocks: its length and float32 [n] each."""

    num_samples: int
    blocks: Iterator[Signal]


def encode_speech(speech: Speech, model: SavedModel, layers: int | None = None, *, spans: int = 1) -> bytes:
    """As `encode`, in memory that does not grow with the speech, for models with one gain a group."""
    if model.cascade.config.gain == "utterance":
        return encode(np.concatenate(list(speech.blocks)), model, layers, spans=spans)
    return _encoded(speech, model, layers, spans, None)


def _encoded(speech: Speech, model: SavedModel, layers: int | None, spans: int, gain_index: int | None) -> bytes:
    from nsc.coding.streaming import Encoder

    encoder = Encoder(model, layers, spans=spans, num_samples=speech.num_samples, gain_index=gain_index)
    return b"".join([*(encoder.write(block) for block in speech.blocks), encoder.finish()])


def decode(data: bytes, model: SavedModel, layers: int | None = None) -> Decoded:
    """The signal of an .nsc file, of the declared length even if parts of the file are damaged.

    Args:
        data: the file.
        model: what it was coded with.
        layers: codecs to use; None for all that the file has.

    Raises:
        BitstreamError: the header cannot be read, is of another model, or hardly anything is left behind it.
        UserError: more layers than the file has.
    """
    from nsc.coding.streaming import Damage

    damage = Damage()
    blocks = list(decoded_blocks(data, model, layers, damage))
    return Decoded(np.concatenate([np.zeros(0, np.float32), *blocks]), damage)


def decoded_blocks(data: bytes, model: SavedModel, layers: int | None, damage: Damage) -> Iterator[Signal]:
    """As `decode`, block by block in little memory; `damage` is filled in on the way."""
    from nsc.coding.streaming import Decoder

    decoder = Decoder(model, layers)
    decoder.damage = damage
    for start in range(0, len(data), BYTE_BLOCK):
        yield from decoder.pieces(data[start : start + BYTE_BLOCK])
    yield from decoder.last_pieces()


class Info(NamedTuple):
    """What an .nsc file holds.

    seconds: duration, None if a stream broke off before its end.
    bytes: of header, framing, gain and each part; they add up to the file.
    """

    header: bitstream.Header
    seconds: float | None
    missing: int
    bytes: dict[str, int]

    def kbps(self, name: str | None = None) -> float:
        """1000 bits a second of a part, or of the whole file."""
        size = sum(self.bytes.values()) if name is None else self.bytes[name]
        return 8 * size / 1000 / self.seconds if self.seconds else float("nan")


def info(data: bytes) -> Info:
    """What an .nsc file holds; needs no model.

    Raises:
        BitstreamError: the header cannot be read.
    """
    header, groups, missing, _ = bitstream.read_contents(data)
    lengths = [header.num_samples, *(group.num_samples for group in groups)]
    known = [length for length in lengths if length is not None]
    names = ["lpc"] * header.has_lpc + [f"codec {number}" for number in range(1, header.layers + 1)]
    return Info(header, known[0] / SAMPLE_RATE if known else None, missing, bitstream.byte_counts(data, names))


def find_model(name: str, check_dir: Path) -> Path:
    """The folder of a saved model.

    Args:
        name: the folder itself, the model's hash, or a run's id or the beginning of one, with /STAGE behind it or not.
            What ships with the project is found, too; '' is the best of it.
        check_dir: folder of runs.

    Raises:
        UserError: there is no such model.
    """
    from runs.runs import find_run
    from runs.saved_model import DESCRIPTION, stage_folders

    name = name or DEFAULT_MODEL
    if (Path(name) / DESCRIPTION).is_file():
        return Path(name)
    for folder, digest in _known_models(check_dir):
        if digest == name:
            return folder
    run_name, _, stage = name.partition("/")
    run = find_run(run_name, check_dir)
    stages = stage_folders(run.folder)
    if not stages or (stage and stage not in stages):
        raise UserError(f"expected a stage of run {run.id}, found '{stage}'; it has {', '.join(stages) or 'none yet'}")
    return stages[stage or list(stages)[-1]]


def _known_models(check_dir: Path) -> Iterator[tuple[Path, str]]:
    from runs.runs import SHIPPED
    from runs.saved_model import DESCRIPTION, STAGES

    files = [file for folder in (check_dir, SHIPPED) for file in sorted(folder.glob(f"*/{STAGES}/*/{DESCRIPTION}"))]
    for file in files:
        try:
            yield file.parent, str(json.loads(file.read_text())["sha256"])[:8]
        except (OSError, ValueError, KeyError, TypeError):
            continue


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows how it is used")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="codec.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "files", nargs="+", help="input and output; - is standard input or output; .nsc tells which way; a new folder"
    )
    parser.add_argument(
        "--model",
        default="",
        help=f"run id or its beginning, id/stage, hash or folder of a model (default: {DEFAULT_MODEL}, which ships)",
    )
    parser.add_argument("--layers", type=int, help="codecs of the cascade to use (default: all)")
    parser.add_argument("--spans", type=int, default=1, help="stretches of 0.48 s in a group (default 1)")
    parser.add_argument("--loss", type=float, default=0.0, help="decoding: share of groups to lose, 0 to 1 (default 0)")
    parser.add_argument("--burst", type=float, default=1.0, help="mean number of groups lost in a row (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the losses (default 0)")
    parser.add_argument("--format", choices=FORMATS, default="litert", help="of exported graphs (default litert)")
    parser.add_argument("--weights", choices=WEIGHTS, default="float32", help="of exported graphs (default float32)")
    parser.add_argument(
        "--check_dir", type=Path, default=Path("check"), help="folder of trained models (default check)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    console.show_own_lines()
    try:
        _dispatch(_parser().parse_args(list(arguments)))
    except UserError as error:
        print(f"codec.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _dispatch(options: argparse.Namespace) -> None:
    command = options.files.pop(0) if options.files[0] in COMMANDS else ""
    wanted = 2 if command in ("", "truncate") else 1
    if len(options.files) != wanted:
        raise UserError(f"expected {wanted} file names, found {len(options.files)}; --help shows how it is used")
    if command != "truncate":
        console.import_tensorflow()
    if command == "info":
        _print_info(_read(options.files[0]), options.check_dir)
    elif command == "export":
        _export(options)
    elif command == "truncate":
        if options.layers is None:
            raise UserError("expected --layers, the number of codecs to keep, found none; give it")
        _write(options.files[1], bitstream.truncate(_read(options.files[0]), options.layers))
    elif _is_encoding(*options.files):
        _encode_file(options)
    else:
        _decode_file(options)


def _is_encoding(source: str, target: str) -> bool:
    """The direction by suffix; what comes through a pipe on both sides tells it by its first bytes."""
    from_nsc, to_nsc = (Path(name).suffix.lower() == bitstream.SUFFIX for name in (source, target))
    if from_nsc and to_nsc:
        raise UserError("expected speech on one side, found .nsc on both; codec.py truncate cuts layers")
    if from_nsc or to_nsc:
        return to_nsc
    if STANDARD not in (source, target):
        raise UserError(f"expected one file that ends in .nsc, found {source} and {target}; name one so")
    return source != STANDARD or (target == STANDARD and not _peek().startswith(bitstream.MAGIC))


def _peek() -> bytes:
    """The first bytes of standard input, left there to be read."""
    assert isinstance(sys.stdin.buffer, io.BufferedReader)
    return sys.stdin.buffer.peek(len(bitstream.MAGIC))


def _encode_file(options: argparse.Namespace) -> None:
    from runs.saved_model import load_model

    source, target = options.files
    speech = _read_speech(source)
    model = load_model(find_model(options.model, options.check_dir))
    data = encode_speech(speech, model, options.layers, spans=options.spans)
    _write(target, data)
    seconds = speech.num_samples / SAMPLE_RATE
    kbps = 8 * len(data) / 1000 / seconds
    console.log.info("%s: %.2f s, %d bytes, %.2f kbps, model %s", target, seconds, len(data), kbps, model.digest)


def _decode_file(options: argparse.Namespace) -> None:
    from nsc.coding.streaming import Damage
    from runs.saved_model import load_model

    source, target = options.files
    data = _read(source)
    if options.loss:
        data = bitstream.lose_groups(data, options.loss, options.burst, options.seed)
    wanted = options.model or bitstream.unpack_header(data).model
    damage = Damage()
    model = load_model(_model_of_file(wanted, options.check_dir))
    num_samples = _write_speech(target, decoded_blocks(data, model, options.layers, damage))
    console.log.info(
        "%s: %.2f s%s", target, num_samples / SAMPLE_RATE, "".join(f"; {line}" for line in _damage_lines(damage))
    )


def _export(options: argparse.Namespace) -> None:
    from export.graphs import export_model
    from runs.saved_model import load_model

    model = load_model(find_model(options.model, options.check_dir))
    target = Path(options.files[0])
    size = export_model(model, target, options.format, options.weights, options.layers)
    console.log.info("%s: %s, %s, %d bytes, model %s", target, options.format, options.weights, size, model.digest)


def _model_of_file(name: str, check_dir: Path) -> Path:
    try:
        return find_model(name, check_dir)
    except UserError as error:
        raise bitstream.WrongModelError(
            f"expected model {name} in {check_dir}, found none; give its folder with --model ({error})"
        ) from None


def _damage_lines(damage: Damage) -> Iterator[str]:
    if damage.lost:
        names = " ".join(map(str, damage.lost[:MOST_LOST_NAMED])) + (
            " ..." if len(damage.lost) > MOST_LOST_NAMED else ""
        )
        yield f"{len(damage.lost)} groups lost and concealed ({names})"
    if damage.damaged_bytes:
        yield f"{damage.damaged_bytes} damaged bytes"
    if damage.end_missing:
        yield "the end is missing"


def _print_info(data: bytes, check_dir: Path) -> None:
    found = info(data)
    header = found.header
    duration = "unknown, the end is missing" if found.seconds is None else f"{found.seconds:.2f} s"
    print(f"model     {header.model}")
    print(f"duration  {duration}")
    print(f"layers    {header.layers}{', LPC' if header.has_lpc else ''}, groups of {header.group_frames} frames")
    if found.missing or found.bytes["damaged"]:
        print(f"damage    {found.missing} groups missing, {found.bytes['damaged']} bytes damaged")
    for name, size in [*found.bytes.items(), ("all", len(data))]:
        if size:
            kbps = 8 * size / 1000 / found.seconds if found.seconds else float("nan")
            print(f"{name:9} {size:9} bytes  {kbps:7.3f} kbps  {100 * size / len(data):5.1f} %")
    for line in _cost_card(header, check_dir):
        print(line)


def _cost_card(header: bitstream.Header, check_dir: Path) -> list[str]:
    """What the layers of the file cost, where the model is at hand."""
    from cmrl import count_parameters, multiply_adds
    from nsc.coding.streaming import delay_samples
    from nsc.entropy.entropy_model import FRAMES_PER_SECOND
    from runs.saved_model import load_model

    delay = f"delay     {1000 * delay_samples(header.spans) / SAMPLE_RATE:.0f} ms"
    folder = next((folder for folder, digest in _known_models(check_dir) if digest == header.model), None)
    if folder is None:
        return [
            delay,
            f"model {header.model} is not in {check_dir}: its parameters and multiply-adds are not known here",
        ]
    cascade = load_model(folder).cascade
    return [
        delay,
        f"cost      {count_parameters(cascade, header.layers):,} parameters,"
        f" {multiply_adds(cascade, header.layers) * FRAMES_PER_SECOND / 1e9:.2f} billion multiply-adds a second",
    ]


def _read(name: str) -> bytes:
    if name == STANDARD:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UserError(
            f"expected a file {name}, found none that can be read ({error.strerror}); check the path"
        ) from None


def _read_speech(name: str) -> Speech:
    if name != STANDARD:
        return _open_speech(Path(name))
    with tempfile.NamedTemporaryFile(prefix="speech-", suffix=".audio") as file:
        file.write(sys.stdin.buffer.read())
        file.flush()
        return _open_speech(Path(file.name))


def _open_speech(path: Path) -> Speech:
    """Speech as it is needed; what has to be converted first is read as a whole."""
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError):
        return _whole(load_speech(path))  # which says what is wrong
    if (file.samplerate, file.channels) == (SAMPLE_RATE, 1) and file.frames:
        return Speech(file.frames, _blocks_of(file, path))
    signal = load_speech(path)
    if (file.samplerate, file.channels) != (SAMPLE_RATE, 1):
        console.log.info("%s: %d Hz and %d channels become 16 kHz mono", path, file.samplerate, file.channels)
    return _whole(signal)


def _whole(signal: Signal) -> Speech:
    return Speech(len(signal), iter([signal]))


def _blocks_of(file: soundfile.SoundFile, path: Path) -> Iterator[Signal]:
    found = 0
    with file:
        while found < file.frames:
            try:
                block = file.read(SAMPLE_BLOCK, dtype="float32")
            except soundfile.SoundFileError as error:
                raise UserError(f"{path}: expected {file.frames} samples, found {found} ({error}); mend it") from None
            if not len(block):
                raise UserError(f"{path}: expected {file.frames} samples, found {found}: it is cut off; mend it")
            if not np.isfinite(block).all():
                raise UserError(f"{path}: expected finite samples, found NaN or infinity; mend it")
            found += len(block)
            yield np.clip(block, -1, 1)


def _write(name: str, data: bytes) -> None:
    if name == STANDARD:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        atomic_write(name, data)
    except OSError as error:
        raise UserError(f"{name} cannot be written ({error.strerror}); choose another place") from None


def _write_speech(name: str, blocks: Iterator[Signal]) -> int:
    """Writes 16-bit WAV, whole or not at all; returns the number of samples."""
    if name == STANDARD:
        wav = io.BytesIO()
        count = _write_wav(wav, blocks)
        _write(name, wav.getvalue())
        return count
    path = Path(name)
    if path.suffix.lower() != ".wav":
        raise UserError(f"expected a name that ends in .wav for decoded speech, found {name}; choose such a name")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            count = _write_wav(file, blocks)
        beside.replace(path)
    except OSError as error:
        raise UserError(f"{name} cannot be written ({error.strerror}); choose another place") from None
    finally:
        beside.unlink(missing_ok=True)
    return count


def _write_wav(file: io.IOBase, blocks: Iterator[Signal]) -> int:
    count = 0
    with soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, "PCM_16", format="WAV") as wav:
        for block in blocks:
            wav.write(to_int16(block))
            count += len(block)
    return count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
