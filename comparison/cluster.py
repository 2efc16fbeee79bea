"""Where tasks run, by Dask: worker processes of this machine, the workers of a scheduler, or jobs of Slurm."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nsc.console import log
from nsc.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

ROOT: Final = Path(__file__).resolve().parent.parent
SETTINGS: Final[Mapping[str, Any]] = {
    # a worker gets a task when it is free: whoever dies then had no other's task with it
    "distributed.scheduler.worker-saturation": 1.0,
    # tasks say themselves how many threads they compute in
    "distributed.nanny.pre-spawn-environ": {},
}
# Sizes of a Slurm job: what Dask's own jobqueue.yaml has, and what is asked for where a user's says nothing else.
SLURM: Final[Mapping[str, tuple[str | None, Any]]] = {
    "cores": (None, 4),
    "memory": (None, "12GB"),
    "walltime": ("00:30:00", "24:00:00"),
}
# Ctrl-C in a terminal reaches worker processes too, which then say so at length: whoever began them ends them.
NO_INTERRUPTS: Final = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
JOIN_SECONDS = 600.0  # that a worker has to start in, on nodes that are slow to load Python
SCHEDULER_SECONDS = 30.0  # until a scheduler has to answer

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Place:
    """Where tasks run.

    Attributes:
        processes: worker processes of this machine, 0 for one per core.
        scheduler: address of a Dask scheduler, whose workers are taken instead.
        slurm: number of Slurm jobs, each with one worker, that are taken instead.
        slurm_options: further options of `sbatch`, as on its command line.
    """

    processes: int = 0
    scheduler: str = ""
    slurm: int = 0
    slurm_options: str = ""

    @property
    def elsewhere(self) -> bool:
        """Whether other machines work."""
        return bool(self.scheduler or self.slurm)

    @property
    def local_workers(self) -> int:
        """Worker processes of this machine."""
        return self.processes or os.cpu_count() or 1


def add_flags(parser: argparse.ArgumentParser, processes: int) -> None:
    """Adds the flags that `place_of` reads, with a default number of processes."""
    default = f"default {processes or '0: one per core'}"
    parser.add_argument(
        "--processes", type=int, default=processes, help=f"worker processes of this machine ({default})"
    )
    elsewhere = parser.add_mutually_exclusive_group()
    elsewhere.add_argument("--scheduler", default="", metavar="ADDRESS", help="work on a Dask scheduler's workers")
    elsewhere.add_argument("--slurm", type=int, default=0, metavar="JOBS", help="work in so many Slurm jobs")
    text = "of sbatch, such as --slurm_options='--partition=gpu --gpus=1'"
    parser.add_argument("--slurm_options", default="", metavar="OPTIONS", help=text)


def place_of(options: argparse.Namespace) -> Place:
    """The place that the flags name.

    Raises:
        UserError: a number is negative.
    """
    for name in ("processes", "slurm"):
        if getattr(options, name) < 0:
            raise UserError(f"argument --{name}: {getattr(options, name)} is negative")
    return Place(options.processes, options.scheduler, options.slurm, options.slurm_options)


@contextmanager
def open_workers(place: Place, environment: Mapping[str, str] | None = None, *, deaths: int = 3) -> Iterator[Client]:
    """A client of the place's workers, which end with the context unless they are a scheduler's.

    Args:
        place: where.
        environment: variables that worker processes of this machine get.
        deaths: how often a task whose worker dies is run again; a scheduler given by its address has its own number.

    Raises:
        UserError: the scheduler does not answer, or there is no Slurm.
    """
    import dask
    from distributed import Client

    with dask.config.set({**SETTINGS, "distributed.scheduler.allowed-failures": deaths}):
        if place.scheduler:
            with _connected(place.scheduler) as client:
                yield _announced(client)
            return
        with _cluster(place, environment or {}) as cluster, Client(cluster) as client:
            yield _announced(client)


def _connected(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=SCHEDULER_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(f"argument --scheduler: no Dask scheduler answers at {address} ({error})") from None


def _cluster(place: Place, environment: Mapping[str, str]) -> Any:
    if place.slurm:
        return _slurm(place)
    from distributed import LocalCluster

    # one thread each, so that no two tasks share a process; seen from this machine only
    return LocalCluster(
        n_workers=place.local_workers,
        threads_per_worker=1,
        memory_limit=None,
        dashboard_address="127.0.0.1:0",
        env=dict(environment),
        preload=NO_INTERRUPTS,
        silence_logs=logging.CRITICAL,  # or else a sweep that is stopped ends in Dask's lines instead of its own
    )


def _slurm(place: Place) -> Any:
    if not shutil.which("sbatch"):
        raise UserError(
            "argument --slurm: there is no sbatch on this machine; run it where jobs of Slurm are submitted"
        )
    import dask
    from dask_jobqueue import SLURMCluster

    given = {name: dask.config.get(f"jobqueue.slurm.{name}", None) for name in SLURM}
    size = {name: ours if given[name] == default else given[name] for name, (default, ours) in SLURM.items()}
    cluster = SLURMCluster(
        **size,
        processes=1,
        worker_extra_args=["--nthreads", "1"],
        job_extra_directives=shlex.split(place.slurm_options),
        job_script_prologue=[
            f"cd {shlex.quote(str(ROOT))}",
            f"export PYTHONPATH={shlex.quote(str(ROOT))}",
            "export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON='{}'",
        ],
        scheduler_options={"dashboard_address": ":0"},
        death_timeout=JOIN_SECONDS,
    )
    cluster.adapt(
        minimum_jobs=place.slurm, maximum_jobs=place.slurm
    )  # which replaces jobs that end by their time limit
    return cluster


def _announced(client: Client) -> Client:
    log.info("dashboard: %s", client.dashboard_link)
    return client


def outcomes(
    client: Client, work: Callable[[Item], Value], items: Sequence[Item]
) -> Iterator[tuple[Item, Value | Exception]]:
    """What `work` returns for each item, or the exception that it raised, as they come.

    A task whose worker dies is run again. One of which too many died is tried once more while nothing else runs; if a
    worker dies of it then, Dask's `KilledWorker` is its outcome.
    """
    from distributed import KilledWorker, as_completed

    name = f"{getattr(work, '__name__', 'task')}-{uuid.uuid4().hex}"
    waiting: dict[Future, Item] = {
        client.submit(work, item, key=f"{name}-{number}", pure=False): item for number, item in enumerate(items)
    }
    suspects: list[Item] = []
    for future in as_completed(list(waiting)):
        item, error = waiting.pop(future), future.exception()
        if isinstance(error, KilledWorker):
            suspects.append(item)
        else:
            yield item, error or future.result()
    for number, item in enumerate(suspects):
        future = client.submit(work, item, key=f"{name}-again-{number}", pure=False)
        error = future.exception()
        yield item, error or future.result()
