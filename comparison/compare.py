"""Many codecs on the same files: coded, decoded and scored in parallel, continuing where a run was stopped."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from comparison.cluster import Place, open_workers, outcomes
from comparison.coders import Coder, Version
from comparison.results import Recording, Result, Store
from constants import SAMPLE_RATE
from measures.measures import columns_of, missing, score
from nsc import console
from nsc.errors import UserError
from nsc.stops import raise_met
from runs.runs import code_version
from utilities import INT16_SCALE, load_speech, to_int16

POOLED_FROM = 8  # tasks: fewer are done sooner than worker processes start
CRASHED = "the process ended without a message: a library crashed on this file"
# each core has a process of its own
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


class Terms(NamedTuple):
    """What all files of a comparison are coded and scored by.

    corpus: folder of the speech.
    cache_dir: gets coded and decoded files, by content; workers of other machines see it under the same path.
    measures: their names.
    """

    corpus: Path
    cache_dir: Path
    measures: Sequence[str]


class Task:
    """One file through one codec; travels to other processes."""

    def __init__(self, coder: Coder, recording: Recording, terms: Terms) -> None:
        self.coder, self.recording = coder, recording
        self.corpus, self.cache_dir, self.measures = terms
        self.commit = ""  # of the code
        self.known: tuple[Result, ...] = ()  # of the same file, whose scores stay where what was coded is the same

    @property
    def file(self) -> str:
        """The file's name in the results."""
        return os.path.relpath(self.recording.path, self.corpus)

    def run(self) -> list[Result]:
        """Codes and scores; a failure becomes a result that reports it."""
        try:
            samples = _samples_of(self.recording.path)
            versions = self.coder.code(samples, self.cache_dir)
            return [self._scored(samples, version) for version in versions]
        except UserError as error:
            return [self.failed(str(error))]
        except Exception as error:  # one file must not end a run over many
            raise_met()
            return [self.failed(f"{type(error).__name__}: {error}")]

    def _scored(self, samples: np.ndarray, version: Version) -> Result:
        reference, decoded = samples / INT16_SCALE, load_speech(version.decoded)
        known = self._known(version)
        names = [name for name in self.measures if not set(columns_of([name])) <= set(known.measures)]
        found = score(reference, decoded.astype(np.float64), names)
        return replace(
            self._blank(),
            layer=version.layer,
            loss=version.loss,
            seconds=len(samples) / SAMPLE_RATE,
            bits=version.bits,
            delay=version.delay,
            delay_ms=version.delay_ms,
            bands=dict(version.bands),
            decoded=str(version.decoded),
            measures={**known.measures, **found.values},
            failures={name: each for name, each in known.failures.items() if name not in found.values} | found.failures,
        )

    def _known(self, version: Version) -> Result:
        for result in self.known:
            same = (result.layer, result.loss, result.bits, result.decoded)
            if same == (version.layer, version.loss, version.bits, str(version.decoded)):
                return result
        return self._blank()

    def failed(self, reason: str) -> Result:
        """The result of a file that could not be coded."""
        return replace(self._blank(), error=" ".join(reason.split()))

    def _blank(self) -> Result:
        recording = self.recording
        return Result(
            self.coder.codec.name,
            0,
            0.0,
            str(self.corpus),
            self.file,
            recording.speaker,
            sex=recording.sex,
            part=recording.part,
            commit=self.commit,
        )


@functools.lru_cache(maxsize=256)
def _samples_of(path: Path) -> np.ndarray:
    return to_int16(load_speech(path))


def compare(
    coders: Sequence[Coder], recordings: Sequence[Recording], store: Store, terms: Terms, place: Place
) -> list[Result]:
    """Codes and scores every file with every codec that is not yet in the store.

    Args:
        coders: the codecs.
        recordings: test speech.
        store: gets the results, file by file.
        terms: of them all; measures that cannot be used here are named in a line and left out.
        place: where files are coded and scored.

    Returns:
        The results of these codecs and files, as far as they exist now.
    """
    total = len(coders) * len(recordings)
    terms = terms._replace(measures=_usable(terms.measures, store))
    waiting: list[Task] = []
    for coder in coders:
        store.describe(coder.codec)
        tasks = [Task(coder, recording, terms) for recording in recordings]
        waiting += _unfinished(tasks, coder, store)
    waiting.sort(key=_drawn)
    with tqdm(total=total, initial=total - len(waiting), desc="comparing", unit="file", disable=None) as progress:
        for results in _run(waiting, place):
            store.append(results)
            progress.update()
    wanted = {os.path.relpath(recording.path, terms.corpus) for recording in recordings}
    found = itertools.chain.from_iterable(store.of_codec(coder.codec.name) for coder in coders)
    return [result for result in found if result.file in wanted and result.corpus == str(terms.corpus)]


def _drawn(task: Task) -> str:
    """Puts all codecs of a file together, and files in an order drawn once for all: a stopped run has a fair sample."""
    return hashlib.sha256(task.file.encode()).hexdigest()


def _unfinished(tasks: Sequence[Task], coder: Coder, store: Store) -> list[Task]:
    """The tasks that lack measures, each with what is known of its file."""
    found, commit = store.of_codec(coder.codec.name), code_version()
    done = _done(found, coder)
    waiting = [
        task for task in tasks if not set(columns_of(task.measures)) <= done.get((str(task.corpus), task.file), set())
    ]
    for task in waiting:
        task.commit = commit
        task.known = tuple(each for each in found if (each.corpus, each.file) == (str(task.corpus), task.file))
    return waiting


def _usable(measures: Sequence[str], store: Store) -> list[str]:
    needs = missing(measures)
    store.leave_out({name: f"needs {need}" for name, need in needs.items()})
    for name, need in needs.items():
        console.log.info("without %s, which needs %s", name, need)
    return [name for name in measures if name not in needs]


def _done(results: Sequence[Result], coder: Coder) -> dict[tuple[str, str], set[str]]:
    """Values that each file has at every requested loss; failed files have none and are tried again."""
    losses: dict[tuple[str, str], dict[float, set[str]]] = {}
    for result in results:
        if not result.error and Path(result.decoded).is_file():
            losses.setdefault((result.corpus, result.file), {})[result.loss] = set(result.measures)
    return {
        place: set.intersection(*(found[loss] for loss in coder.losses))
        for place, found in losses.items()
        if set(coder.losses) <= set(found)
    }


def _run(tasks: Sequence[Task], place: Place) -> Iterator[list[Result]]:
    if not place.elsewhere and (place.local_workers == 1 or len(tasks) < POOLED_FROM):
        for task in tasks:
            yield task.run()
        return
    with open_workers(place, ONE_THREAD, deaths=0) as client:
        client.run(console.show_own_lines)
        for task, outcome in outcomes(client, Task.run, tasks):
            if isinstance(outcome, Exception):
                yield [task.failed(CRASHED)]
            else:
                yield outcome


def limit_threads() -> None:
    """Lets this process compute in one thread, as worker processes do; before it imports numerical libraries."""
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
