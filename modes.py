"""The training modes: which data, which saved model and which run they work on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from config import Config
from dataset import PackedCorpus, SpeechFile, find_speech, split_summary
from errors import UserError
from evaluation import FileResult, evaluate, table
from runs import Journal, Run, changed_environment, environment, find_or_create_run, find_run
from saved_model import load_model, saved_config, stage_folders
from training import Training

CONFIG, SPLITS, ENVIRONMENT = "config.json", "splits.json", "environment.json"
GREEDY_IN_MODE_5, FINETUNED_IN_MODE_5 = 2, 3
GREEDY_IN_MODE_0, FINETUNED_IN_MODE_0 = 1, 2
FINETUNE = "finetune"


def prepare_machine(threads: int) -> None:
    """Sets thread counts and lets a GPU's memory grow; before TensorFlow's first operation."""
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def train(config: Config, named: dict[str, Any]) -> Run:
    """Modes 1 to 5: trains, or continues, the run that this configuration describes.

    Args:
        config: the resolved options.
        named: the options that the user named, by flag spelling.
    """
    base = None
    if config.training_mode in (2, 5):
        base_run = find_run(config.base_model_id, config.check_dir)
        base = _base_stage(base_run, config)
        config = _with_network_of(config, base, named)
        config = dataclasses.replace(config, base_model_id=base_run.id)
    files = find_speech(config.data_dir, sa_sentences=config.sa_sentences, seed=config.seed)
    run = _run_of(config, files)
    if run.status == "finished":
        logging.info("run %s of this configuration is finished; --new trains it again", run.id)
        return run
    run.lock()
    corpus = PackedCorpus.pack(files, config.cache_dir, config.gain)
    _check_splits(corpus)
    for line in corpus.left_out:
        logging.info("left out: %s", line)
    journal = Journal(run, config.doc_dir)
    _record(run, journal, config, files)
    logging.info("run %s in %s, journal %s", run.id, run.folder, journal.text)
    Training(config, run, journal, corpus, base).execute()
    logging.info("finished: --training_mode 0 --base_model_id %s evaluates it", run.id)
    return run


def evaluate_saved(config: Config, named: dict[str, Any]) -> list[FileResult]:
    """Mode 0: evaluates a saved run on its test speakers, or on those of a `data_dir` that the user names."""
    run = find_run(config.base_model_id, config.check_dir)
    stage = _stage_to_evaluate(run, config.from_where_step)
    model = load_model(stage_folders(run.folder)[stage])
    files = _test_files(run, config, named)
    folder = Path(config.output_dir) / run.id / stage
    logging.info("evaluating %s, stage %s, model %s, on %d files", run.id, stage, model.digest, len(files))
    results = evaluate(model, files, folder)
    print(table(results))
    print(f"decoded files and scores: {folder}")
    return results


def _base_stage(run: Run, config: Config) -> Path:
    """The folder of the saved stage that mode 2 or 5 starts from."""
    stages = stage_folders(run.folder)
    if config.training_mode == 2:
        names = [name for name in stages if name == "first"]
    else:
        wanted = {
            0: list(stages),
            GREEDY_IN_MODE_5: [name for name in stages if name != FINETUNE],
            FINETUNED_IN_MODE_5: [name for name in stages if name == FINETUNE],
        }
        if config.from_where_step not in wanted:
            raise UserError(
                f"--from_where_step is 2 (greedy) or 3 (finetuned) in mode 5, found {config.from_where_step}"
            )
        names = wanted[config.from_where_step]
    if not names:
        raise UserError(f"run {run.id} has no such stage to start from; it has {', '.join(stages) or 'none yet'}")
    return stages[names[-1]]


def _stage_to_evaluate(run: Run, step: int) -> str:
    stages = list(stage_folders(run.folder))
    greedy = [name for name in stages if name != FINETUNE]
    wanted = {
        0: stages,
        GREEDY_IN_MODE_0: greedy,
        FINETUNED_IN_MODE_0: [name for name in stages if name == FINETUNE],
    }
    if step not in wanted:
        raise UserError(f"--from_where_step is 1 (greedy) or 2 (finetuned) in mode 0, found {step}")
    if not wanted[step]:
        raise UserError(f"run {run.id} has no such stage to evaluate; it has {', '.join(stages) or 'none yet'}")
    return wanted[step][-1]


def _with_network_of(config: Config, base: Path, named: dict[str, Any]) -> Config:
    """The configuration with the saved model's network; a flag that says otherwise is named and ignored."""
    own = ("num_modules", "strides", "bins") if config.training_mode == 2 else ()
    resolved = config.with_network_of(saved_config(base), keep=own)
    before, after = config.to_dict(), resolved.to_dict()
    for flag in named:
        if before[flag] != after[flag]:
            logging.info("--%s %s is ignored: the saved model has %s", flag, before[flag], after[flag])
    return resolved


def _run_of(config: Config, files: Sequence[SpeechFile]) -> Run:
    return find_or_create_run(
        config.identity(),
        [f"{file.path} {file.speaker} {file.split}" for file in files],
        check_dir=config.check_dir,
        doc_dir=config.doc_dir,
        suffix=config.suffix,
        mark=config.name_mark,
        fresh=config.new,
    )


def _record(run: Run, journal: Journal, config: Config, files: Sequence[SpeechFile]) -> None:
    """Writes what the run depends on, or says what has changed since it began."""
    now = environment(config.threads, 0)
    if (run.folder / ENVIRONMENT).exists():
        for line in changed_environment(run.read_record(ENVIRONMENT), now):
            logging.info("not bit-identical any more: %s", line)
            journal.write("changed", what=line)
        return
    run.write_record(CONFIG, config.to_dict())
    run.write_record(SPLITS, [{"path": str(file.path), "speaker": file.speaker, "split": file.split} for file in files])
    run.write_record(ENVIRONMENT, now)
    journal.write(
        "run", id=run.id, seed=config.seed, **{str(row["split"]): row["speakers"] for row in split_summary(files)}
    )


def _check_splits(corpus: PackedCorpus) -> None:
    for split in ("train", "val"):
        if not corpus.files(split):
            raise UserError(
                f"expected usable speech in split {split}, found none; give more speakers or a manifest.csv"
            )


def _test_files(run: Run, config: Config, named: dict[str, Any]) -> list[SpeechFile]:
    """Files to evaluate on, none of them a file or speaker that the model was trained on."""
    recorded = [SpeechFile(Path(row["path"]), row["speaker"], row["split"]) for row in run.read_record(SPLITS)]
    if "data_dir" not in named:
        files = [file for file in recorded if file.split == "test"]
    else:
        found = find_speech(config.data_dir, sa_sentences=config.sa_sentences, seed=config.seed)
        files = [file for file in found if file.split == "test"]
        trained = {file.path.resolve() for file in recorded if file.split != "test"}
        overlap = [file for file in files if file.path.resolve() in trained]
        if overlap:
            raise UserError(
                f"{len(overlap)} test files of {config.data_dir} were used in training, such as {overlap[0].path};"
                " evaluate on other speech"
            )
    if not files:
        raise UserError("expected test files, found none; give --data_dir a folder whose manifest has a test split")
    step = max(1, len(files) // config.max_files) if config.max_files else 1
    return files[::step][: config.max_files or None]
