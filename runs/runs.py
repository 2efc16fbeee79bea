"""A run's identity, its folder under check/ and its journal under doc/."""

import difflib
import fcntl
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from nsc.atomic import naming
from nsc.console import log
from nsc.errors import UserError
from nsc.loading.find import PRETRAINED
from utilities import atomic_write

PACKAGE = "neural-speech-coding"
SHIPPED = PRETRAINED  # models that come with the project, as finished runs
STATE = "state.json"
LOCK = "lock"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*(\.[A-Za-z0-9_+-]+)*")  # names no other folder
CANDIDATES_NAMED = 5  # runs that an error message lists

LIBRARIES = ("tensorflow", "keras", "numpy", "scipy")
# Environment variables that change the order or the kind of floating-point operations.
NUMERIC_VARIABLES = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "CUDA_VISIBLE_DEVICES",
)

# A lock lives as long as its open file, so these files stay open until the process ends.
_held_locks: dict[Path, TextIO] = {}


@dataclass
class Run:
    """One training run and its folder.

    Attributes:
        id: local time of creation and the first eight hex digits of the fingerprint.
        folder: <check_dir>/<id><suffix>, holds records and checkpoints.
        status: 'finished' once `finish` was called.
        fingerprint: SHA-256 of what decides the run, its configuration and file list.
        created: seconds since 1970.
    """

    id: str
    folder: Path
    status: Literal["unfinished", "finished"]
    fingerprint: str
    created: float

    @property
    def ships(self) -> bool:
        """Whether the run came with the project."""
        return self.folder.parent == SHIPPED

    def write_record(self, name: str, record: Any) -> None:
        """Write an object as JSON into the file `name` of the run's folder, whole or not at all."""
        atomic_write(self.folder / name, json.dumps(_plain(record), indent=2, allow_nan=False) + "\n")

    def read_record(self, name: str) -> Any:
        """Read the JSON file `name` of the run's folder.

        Raises:
            UserError: the file is missing or damaged.
        """
        return _read_json(self.folder / name)

    def lock(self) -> None:
        """Keep other processes from training this run until this process ends; take it before training.

        Raises:
            UserError: another process trains this run.
        """
        path = (self.folder / LOCK).resolve()
        if path in _held_locks:
            return
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise UserError(
                f"run {self.id} is being trained by process {owner}: wait for it, or start another by --new"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        _held_locks[path] = file
        self.status = _load(self.folder).status  # the former owner may have finished it meanwhile

    def finish(self) -> None:
        """Mark the run as finished, once and for all."""
        self.status = "finished"
        self._write_state()

    def _write_state(self) -> None:
        state = {name: value for name, value in asdict(self).items() if name != "folder"}
        self.write_record(STATE, state)


def find_or_create_run(
    config: Mapping[str, Any],
    files: Sequence[str],
    *,
    check_dir: str | Path,
    doc_dir: str | Path,
    suffix: str = "",
    fresh: bool = False,
) -> Run:
    """The run of this configuration: the newest unfinished one, else the newest finished one, else a new one.

    Args:
        config: the values that decide the run's result; paths, lists and numbers.
        files: the speech files in the order in which they are used.
        check_dir: folder of all runs.
        doc_dir: folder of all journals, no two runs share a journal.
        suffix: part of the name of folder and journal; other characters than letters, digits and ``_+.-``
            become '-'. Runs of other names are other runs.
        fresh: create a new run in any case.
    """
    fingerprint = _fingerprint(config, files)
    name_end = re.sub(r"[^\w+.-]", "-", suffix)
    check_dir = Path(check_dir)
    check_dir.mkdir(parents=True, exist_ok=True)
    # Without the lock two processes could both miss the other's run and create the same one twice.
    with _exclusive(check_dir / ".lock"):
        if not fresh:
            same = [
                run
                for run in _all_runs(check_dir)
                if run.fingerprint == fingerprint and run.folder.name == run.id + name_end
            ]
            unfinished = [run for run in same if run.status == "unfinished"]
            if same:
                return (unfinished or same)[0]
        return _create(fingerprint, check_dir, Path(doc_dir), name_end)


def find_run(
    base_model_id: str,
    check_dir: str | Path,
    *,
    suits: Callable[[Run], bool] = lambda run: True,
    need: str = "a finished run",
) -> Run:
    """The run whose id or folder name begins with `base_model_id`; with '', the newest finished run that suits.

    A name may also be that of a model that ships, which '' never finds.

    Args:
        base_model_id: a unique prefix, or ''.
        check_dir: folder of all runs.
        suits: which finished runs may be taken where none is named.
        need: what such a run is, for the message that there is none.

    Raises:
        UserError: no run fits, or more than one.
    """
    runs, shipped = _all_runs(Path(check_dir)), _all_runs(SHIPPED)
    if base_model_id:
        runs += [run for run in shipped if run not in runs]
    if not runs:
        raise UserError(
            f"expected a trained model in {check_dir}, found none: train one (--training_mode 4), or name one that"
            f" ships ({_names(shipped)})"
        )
    if not base_model_id:
        return _newest_finished(runs, check_dir, suits, need)
    exact = [run for run in runs if base_model_id in (run.id, run.folder.name)]
    fitting = exact or [run for run in runs if run.folder.name.startswith(base_model_id)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(
            f"model id '{base_model_id}' fits {len(fitting)} runs in {check_dir}: {_names(fitting)}; "
            "give more of the id"
        )
    for state in Path(check_dir).glob(f"*/{STATE}"):
        if state.parent.name.startswith(base_model_id):
            _load(state.parent)  # which says what is wrong with it
    nearest = _names(_nearest(base_model_id, runs))
    raise UserError(f"no model id in {check_dir} begins with '{base_model_id}'; choose one of {nearest}")


def environment(intra_op_threads: int | None = None, inter_op_threads: int | None = None) -> dict[str, Any]:
    """Dependencies of a run's numbers besides its configuration: code, versions, machine and threads.

    Args:
        intra_op_threads: TensorFlow's threads within one operation, 0 or None where it chooses.
        inter_op_threads: TensorFlow's operations at a time, 0 or None where it chooses.

    Returns:
        A flat dict ready for JSON; 'time' is when it was taken.
    """
    return {
        "time": _now().isoformat(timespec="seconds"),
        "code": code_version(),
        "python": platform.python_version(),
        **{library: version_of(library) for library in LIBRARIES},
        "platform": platform.platform(),
        "processor": _processor(),
        "processor count": _processor_count(),
        "intra-op threads": intra_op_threads,
        "inter-op threads": inter_op_threads,
        **{variable: os.environ.get(variable) for variable in NUMERIC_VARIABLES},
    }


def changed_environment(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for each difference that may break bit-identical continuation of a run begun in `old`."""
    return [
        f"{name} was {_or_unset(old.get(name))} when the run began, is {_or_unset(new.get(name))} now"
        for name in dict.fromkeys([*old, *new])
        if name != "time" and old.get(name) != new.get(name)
    ]


class Journal:
    """A run's journal: <doc_dir>/<folder name>.txt for people and .jsonl, one object per line, for programs.

    Each event is one write to the end of each file, so that a kill tears at most the last line; what it tore
    is cut off when the journal is opened again. Lines about steps that a resumed run repeats stay: the reader
    goes by the event 'resumed' that the trainer writes.
    """

    def __init__(self, run: Run, doc_dir: str | Path) -> None:
        """Open the journal of `run`, creating `doc_dir` where needed."""
        folder = Path(doc_dir)
        folder.mkdir(parents=True, exist_ok=True)
        # with_suffix would cut a name with a dot in it
        self.text = folder / f"{run.folder.name}.txt"
        self.lines = folder / f"{run.folder.name}.jsonl"
        _cut_torn_line(self.text)
        _cut_torn_line(self.lines)

    def write(self, event: str, **values: Any) -> None:
        """Append an event with its values to both files, stamped with the local time under the key 'at'."""
        now = _now()
        record = {"at": now.isoformat(timespec="milliseconds"), "event": event, **_plain(values)}
        _append(self.lines, json.dumps(record, allow_nan=False))
        columns = [f"{name} {_readable(value):>9}" for name, value in values.items()]
        _append(self.text, "  ".join([f"{now:%Y-%m-%d %H:%M:%S}", f"{event:<10}", *columns]).rstrip())

    @staticmethod
    def read(path: str | Path) -> list[dict[str, Any]]:
        """The events of a .jsonl journal, oldest first; a torn last line is skipped.

        Raises:
            UserError: the file is missing, or a line other than the last is damaged.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"expected a journal, found no file {path}: journals lie in the doc folder")
        *whole, _torn = path.read_bytes().split(b"\n")
        return [_journal_line(path, number, line) for number, line in enumerate(whole, start=1)]


def _create(fingerprint: str, check_dir: Path, doc_dir: Path, name_end: str) -> Run:
    now = _now()
    first_id = f"{now:%Y%m%d-%H%M%S}-{fingerprint[:8]}"
    run_id, count = first_id, 1
    while any(next(folder.glob(f"{run_id}*"), None) for folder in (check_dir, doc_dir)):
        count += 1
        run_id = f"{first_id}-{count}"
    folder = check_dir / (run_id + name_end)
    folder.mkdir()
    run = Run(run_id, folder, "unfinished", fingerprint, now.timestamp())
    run._write_state()
    return run


def _all_runs(check_dir: Path) -> list[Run]:
    """Every run of a folder, newest first; folders without a state are not runs, damaged ones are reported."""
    runs = []
    for state in sorted(check_dir.glob(f"*/{STATE}")):
        try:
            runs.append(_load(state.parent))
        except UserError as error:
            log.info("skipped: %s", error)
    return sorted(runs, key=lambda run: (run.created, run.id), reverse=True)


def _load(folder: Path) -> Run:
    state = _read_json(folder / STATE)
    if not isinstance(state, dict) or not _is_state(state, folder):
        raise UserError(f"expected a run's state in {folder / STATE}, found something else: restore it or move it away")
    return Run(folder=folder, **state)


def _is_state(state: dict[str, Any], folder: Path) -> bool:
    """Whether entries are those that `Run._write_state` writes, and the id a name that stays in its folder."""
    created = state.get("created", math.nan)
    return (
        set(state) == {"id", "status", "fingerprint", "created"}
        and isinstance(state["id"], str)
        and RUN_ID.fullmatch(state["id"]) is not None
        and folder.name.startswith(state["id"])
        and state["status"] in ("unfinished", "finished")
        and isinstance(state["fingerprint"], str)
        and type(created) in (int, float)
        and math.isfinite(created)
    )


def _newest_finished(runs: list[Run], check_dir: str | Path, suits: Callable[[Run], bool], need: str) -> Run:
    finished = [run for run in runs if run.status == "finished"]
    if not finished:
        raise UserError(
            f"expected {need} in {check_dir}, found unfinished ones only: {_names(runs)}; "
            "finish one by its training command, or name one with --base_model_id"
        )
    suitable = next(filter(suits, finished), None)
    if suitable is None:
        raise UserError(f"expected {need} in {check_dir}, found only {_names(finished)}; train one")
    return suitable


def _nearest(base_model_id: str, runs: list[Run]) -> list[Run]:
    def similarity(run: Run) -> float:
        return difflib.SequenceMatcher(None, base_model_id, run.folder.name[: len(base_model_id)]).ratio()

    return sorted(runs, key=similarity, reverse=True)[:CANDIDATES_NAMED]


def _names(runs: Sequence[Run]) -> str:
    names = ", ".join(run.folder.name for run in runs[:CANDIDATES_NAMED])
    more = len(runs) - CANDIDATES_NAMED
    return f"{names} and {more} more" if more > 0 else names


def _fingerprint(config: Mapping[str, Any], files: Sequence[str]) -> str:
    """SHA-256 of the canonical JSON of both: equal whatever the order of keys."""
    both = {"config": _plain(config), "files": _plain(files)}
    canonical = json.dumps(both, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode(errors="surrogateescape")).hexdigest()  # names of files are any bytes


def _plain(value: Any) -> Any:
    """The same value in JSON's own types; numbers that JSON lacks, NaN and infinities, become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "numpy"):  # a tensor
        return _plain(value.numpy())
    return _plain(value.tolist()) if hasattr(value, "tolist") else value  # an array or one of its scalars


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"expected {path.name} in the run's folder {path.parent}, found none") from None
    except OSError as error:
        raise UserError(f"expected {path}, found what cannot be read ({error.strerror}): move it away") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"expected JSON in {path}, found something else ({error}): move it away") from None


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Wait for a lock file and hold it during the block."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _now() -> datetime:
    return datetime.now().astimezone()


def code_version() -> str:
    """The commit of the code, '-dirty' where tracked files differ from it, else the package's version."""
    root = Path(__file__).resolve().parents[1]
    # Code installed inside another project's checkout must not be identified by that project's commit.
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            return answer.stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass  # no git here, or no commit yet
    return version_of(PACKAGE) or "unknown"


def version_of(package: str) -> str | None:
    """The release of an installed package; None where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's model, since libraries choose their arithmetic by it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor()


def _processor_count() -> int | None:
    """Processors that this process may use; TensorFlow takes its default thread counts from it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _or_unset(value: Any) -> Any:
    return "unset" if value is None else value


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)


def _append(path: Path, line: str) -> None:
    # Unbuffered: one line is one write call, which a kill cannot split.
    with naming(path), path.open("ab", buffering=0) as file:
        file.write(line.encode(errors="backslashreplace") + b"\n")


def _readable(value: Any) -> str:
    value = value if isinstance(value, float) else _plain(value)  # a NaN is worth reading
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(_readable, value)) if isinstance(value, list) else str(value)


def _journal_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        raise UserError(f"line {number} of the journal {path} is damaged: repair or remove it") from None
