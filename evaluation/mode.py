"""Mode 0: which saved model is evaluated, on which speech."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from corpus.find import find_test_speech
from corpus.speech_file import SpeechFile
from evaluation.evaluate import evaluate
from evaluation.results import FileResult, rate_check, table
from measures.measures import MEASURES
from nsc.console import log
from nsc.errors import UserError
from options.config import Config
from runs.choice import saved_stage
from runs.heard import heard_among, own_corpus, recorded_files
from runs.runs import Run
from runs.saved_model import load_model

SCORED = (*MEASURES, "time_structure", "octave_levels")


def evaluate_saved(config: Config, named: dict[str, Any]) -> list[FileResult]:
    """Mode 0: evaluates a saved run on its test speakers, or on the speech of a `data_dir` that the user names.

    Raises:
        UserError: no such model, no speech to test on, or speech that the model was trained on.
    """
    run, stage = saved_stage(config)
    model = load_model(stage)
    files = _test_files(run, config, named)
    some = f"-{config.max_files}-files" if config.max_files else ""  # which are not to replace the scores of all
    folder = Path(config.output_dir) / run.id / f"{stage.name}{some}"
    log.info("evaluating %s, stage %s, model %s, on %d files", run.id, stage.name, model.digest, len(files))
    results = evaluate(model, files, folder, config.rates, SCORED)
    print(table(results))
    print(rate_check(results, colour=sys.stdout.isatty()))
    print(f"written and decoded files, scores: {folder}")
    return results


def _test_files(run: Run, config: Config, named: dict[str, Any]) -> list[SpeechFile]:
    """Files to evaluate on, none of them a file or a speaker that the model was trained on."""
    trained_on = own_corpus(run)
    corpus = Path(config.data_dir) if "data_dir" in named else trained_on
    same = corpus.resolve() == trained_on.resolve()
    # a run that ships says what its corpus held, and not always where that lay
    recorded = recorded_files(run, corpus) if same or run.ships else []
    files = [file for file in recorded if file.split == "test"]
    if not same and not files:
        files = find_test_speech(corpus, sa_sentences=config.sa_sentences)
    if not files:
        raise UserError(
            f"expected test speakers in {trained_on}, which run {run.id} was trained on, found none;"
            " give --data_dir a folder of other speech"
        )
    _refuse_heard(files, run, corpus)
    step = max(1, len(files) // config.max_files) if config.max_files else 1
    return files[::step][: config.max_files or None]


def _refuse_heard(files: list[SpeechFile], run: Run, corpus: Path) -> None:
    known = heard_among(files, run, corpus)
    if known:
        raise UserError(
            f"run {run.id} was trained on {len(known)} of the {len(files)} test files of {corpus} or on their speakers,"
            f" such as {known[0].speaker} in {known[0].path}; give --data_dir other speech"
        )
