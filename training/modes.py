"""The training modes: which data, which saved model and which run they work on."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.config import Config, from_dict, shown
from corpus.dataset import Corpus, SpeechFile, find_speech, find_test_speech, recordings_of
from corpus.shards import open_corpus
from evaluation.evaluate import FileResult, evaluate, honesty, table
from nsc.console import log
from nsc.errors import UserError
from runs.runs import Journal, Run, changed_environment, environment, find_or_create_run, find_run
from runs.saved_model import load_model, saved_config
from runs.stages import stage_folders
from training.distribute import Cluster, join_cluster
from training.loop import Training
from training.same_speech import check_same_samples

CONFIG, SPLITS, ENVIRONMENT = "config.json", "splits.json", "environment.json"
BASE = "base"  # split of the files that the saved model was trained on, which a run starts from
FIRST, FINETUNE = "first", "finetune"
# from_where_step counts differently in the two modes that read it; 0 is the latest stage.
GREEDY = {0: 1, 5: 2}
FINETUNED = {0: 2, 5: 3}


def train(config: Config, named: dict[str, Any]) -> Run:
    """Modes 1 to 5: trains, or continues, the run that this configuration describes.

    Args:
        config: the resolved options.
        named: the options that the user named, by flag spelling.

    Raises:
        UserError: data, saved model, devices or flags do not serve, another process trains this run, or training
            failed.
    """
    cluster = join_cluster(config.distribute, config.batch_size, config.consecutive_frames)
    with cluster.naming_lost_workers():
        return _lead(cluster, config, named) if cluster.is_chief else _follow(cluster)


def _lead(cluster: Cluster, config: Config, named: dict[str, Any]) -> Run:
    """Trains as the chief, which is the only worker as a rule."""
    base_run, base = _saved_stage(config) if config.training_mode in (2, 5) else (None, None)
    config = _resolved(config, base_run, base, named)
    files = find_speech(config.data_dir, sa_sentences=config.sa_sentences, seed=config.seed)
    run = _run_of(config, files)
    if run.status == "unfinished":
        run.lock()  # another process may have finished it while this one waited
    if run.status == "finished":
        log.info("run %s of this configuration is finished; --new trains it again", run.id)
        _tell_followers(cluster, run, config)
        return run
    corpus = open_corpus(files, config.data_dir, config.cache_dir, config.gain)
    _check_splits(corpus)
    for line in corpus.left_out:
        log.info("left out: %s", line)
    check_same_samples(run, corpus)
    _tell_followers(cluster, run, config)
    _check_same_speech(cluster, corpus, config.data_dir)
    journal = Journal(run, config.doc_dir)
    _record(run, journal, config, files, corpus, base_run, cluster.replicas)
    log.info("run %s in %s, journal %s", run.id, run.folder, journal.text)
    Training(config, run, corpus, cluster, journal, base).execute()
    log.info("finished: --training_mode 0 --base_model_id %s evaluates it", run.id)
    return run


def _tell_followers(cluster: Cluster, run: Run, config: Config) -> None:
    cluster.text_from_chief(json.dumps([run.id, str(run.folder), run.status, run.fingerprint, config.to_dict()]))


def _follow(cluster: Cluster) -> Run:
    """Trains beside the chief, which says what, and writes nothing but the decoded corpus where that is missing."""
    *known, options = json.loads(cluster.text_from_chief("-"))
    run_id, folder, status, fingerprint = known
    run = Run(run_id, Path(folder), status, fingerprint, 0.0)
    if status == "finished":
        return run
    log.info("worker %d of %d follows the chief in run %s", cluster.worker + 1, cluster.workers, run_id)
    config = from_dict(options, origin="the chief's options")
    files = find_speech(config.data_dir, sa_sentences=config.sa_sentences, seed=config.seed)
    corpus = open_corpus(files, config.data_dir, config.cache_dir, config.gain)
    _check_same_speech(cluster, corpus, config.data_dir)
    Training(config, run, corpus, cluster).execute()
    return run


def _check_same_speech(cluster: Cluster, corpus: Corpus, data_dir: str) -> None:
    """Raises UserError where this worker would divide other batches than the chief."""
    own = corpus.num_training_frames()
    wanted = int(cluster.from_chief(own))
    if own != wanted:
        raise UserError(
            f"expected the chief's {wanted} frames of training speech in {data_dir}, found {own};"
            " give all workers the same folder"
        )


def evaluate_saved(config: Config, named: dict[str, Any]) -> list[FileResult]:
    """Mode 0: evaluates a saved run on its test speakers, or on the speech of a `data_dir` that the user names.

    Raises:
        UserError: no such model, no speech to test on, or speech that the model was trained on.
    """
    run, stage = _saved_stage(config)
    model = load_model(stage)
    files = _test_files(run, config, named)
    folder = Path(config.output_dir) / run.id / stage.name
    log.info("evaluating %s, stage %s, model %s, on %d files", run.id, stage.name, model.digest, len(files))
    results = evaluate(model, files, folder, config.rates)
    print(table(results))
    print(honesty(results, colour=sys.stdout.isatty()))
    print(f"written and decoded files, scores: {folder}")
    return results


def _saved_stage(config: Config) -> tuple[Run, Path]:
    """The saved run that mode 0, 2 or 5 works on, and the folder of its stage."""
    run = find_run(
        config.base_model_id,
        config.check_dir,
        suits=lambda run: bool(_eligible_stages(run, config)),
        need=_needed(config),
    )
    stages = _eligible_stages(run, config)
    if not stages:
        trained = ", ".join(stage_folders(run.folder)) or "none yet"
        cure = f"; --training_mode 5 --base_model_id {run.id} finetunes it" if _wants_finetuned(config) else ""
        raise UserError(
            f"run {run.id} has no such stage (--from_where_step {config.from_where_step}): it has {trained}{cure}"
        )
    return run, stages[-1]


def _needed(config: Config) -> str:
    """What kind of run a mode looks for, and how it comes about where that is not plain."""
    if _wants_finetuned(config):
        step = config.from_where_step
        return f"a finetuned run (--from_where_step {step}), which --training_mode 5 makes of a greedy one,"
    need = {0: "a finished run", 2: "a finished run with a first codec", 5: "a finished run to finetune"}
    return f"{need[config.training_mode]} (--from_where_step {config.from_where_step})"


def _wants_finetuned(config: Config) -> bool:
    return config.from_where_step == FINETUNED.get(config.training_mode)


def _eligible_stages(run: Run, config: Config) -> list[Path]:
    """The stages of a run that the mode may take, the latest last."""
    folders = stage_folders(run.folder)
    mode, step = config.training_mode, config.from_where_step
    if mode == 2:
        return [folder for name, folder in folders.items() if name == FIRST]
    if step not in (0, GREEDY[mode], FINETUNED[mode]):
        raise UserError(
            f"--from_where_step takes {GREEDY[mode]} (greedy), {FINETUNED[mode]} (finetuned) or 0 (the latest)"
            f" in mode {mode}, found {step}"
        )
    if mode == 5 and not config.base_model_id:
        step = step or GREEDY[mode]  # or else the same command run twice would finetune its own result
    unwanted = {GREEDY[mode]: [FINETUNE], FINETUNED[mode]: [name for name in folders if name != FINETUNE]}
    return [folder for name, folder in folders.items() if name not in unwanted.get(step, [])]


def _resolved(config: Config, base_run: Run | None, base: Path | None, named: dict[str, Any]) -> Config:
    """The configuration as it decides the run: what the mode does not read is blank, a saved model is named in full."""
    if base_run is None or base is None:
        return dataclasses.replace(config, base_model_id="", from_where_step=0)
    if config.training_mode == 2 and config.num_modules < 2:
        raise UserError("--num_resnets takes at least 2 in mode 2, which adds codecs to a saved one, found 1")
    step = 0
    if config.training_mode == 5:
        step = (FINETUNED if base.name == FINETUNE else GREEDY)[5]
    resolved = _with_network_of(config, base, named)
    return dataclasses.replace(resolved, base_model_id=base_run.id, from_where_step=step)


def _with_network_of(config: Config, base: Path, named: dict[str, Any]) -> Config:
    """The configuration with the saved model's network; a flag that says otherwise is named and ignored."""
    saved = saved_config(base)
    whole = dataclasses.replace(config, strides=config.module_strides(), bins=config.module_bins())
    if config.training_mode == 2:  # the followers are the flags' own
        kinds = saved.quantizer[:1] + config.module_quantizers()[1:]
        resolved = dataclasses.replace(
            whole.with_network_of(saved, keep=("num_modules", "strides", "bins", "quantizer")),
            strides=saved.module_strides()[:1] + whole.strides[1:],
            bins=saved.module_bins()[:1] + whole.bins[1:],
            quantizer=kinds[:1] if len(set(kinds)) == 1 else kinds,
        )
    else:
        resolved = whole.with_network_of(saved)
    typed, before, after = config.to_dict(), whole.to_dict(), resolved.to_dict()
    for flag in named:
        if before[flag] != after[flag]:
            log.info("--%s %s gives way to the saved model's %s", flag, *map(shown, (typed[flag], after[flag])))
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


def _record(
    run: Run,
    journal: Journal,
    config: Config,
    files: Sequence[SpeechFile],
    corpus: Corpus,
    base_run: Run | None,
    replicas: int,
) -> None:
    """Writes what the run depends on, or says what has changed since it began."""
    now = environment(config.threads, 0)
    # unset where they are off, as in runs that began before there were such flags
    now |= {"deterministic": config.deterministic or None, "replicas": replicas if replicas > 1 else None}
    if (run.folder / ENVIRONMENT).exists():
        for line in changed_environment(run.read_record(ENVIRONMENT), now):
            log.info("not bit-identical any more: %s", line)
            journal.write("changed", what=line)
        return
    run.write_record(CONFIG, config.to_dict())
    # What the saved model was trained on stays on record: no later test may use it.
    heard = [dataclasses.replace(file, split=BASE) for file in _heard(base_run)] if base_run else []
    rows = [{"path": str(file.path), "speaker": file.speaker, "split": file.split} for file in [*files, *heard]]
    run.write_record(SPLITS, rows)
    run.write_record(ENVIRONMENT, now)
    journal.write("run", id=run.id, seed=config.seed, **corpus.speakers())


def _check_splits(corpus: Corpus) -> None:
    for split in ("train", "val"):
        if not corpus.files(split):
            raise UserError(
                f"expected usable speech in split {split}, found none; give more speakers or a manifest.csv"
            )
    for one, other in corpus.twins()[:1]:
        raise UserError(
            f"expected every recording in one split, found the same samples in {one.split} ({one.path}) and"
            f" {other.split} ({other.path}); take one of them out"
        )


def _test_files(run: Run, config: Config, named: dict[str, Any]) -> list[SpeechFile]:
    """Files to evaluate on, none of them a file or a speaker that the model was trained on."""
    own_corpus = _own_corpus(run)
    corpus = Path(config.data_dir) if "data_dir" in named else own_corpus
    if corpus.resolve() == own_corpus.resolve():
        files = [file for file in _recorded_files(run) if file.split == "test"]
    else:
        files = find_test_speech(corpus, sa_sentences=config.sa_sentences)
    if not files:
        raise UserError(
            f"expected test speakers in {own_corpus}, which run {run.id} was trained on, found none;"
            " give --data_dir a folder of other speech"
        )
    _refuse_heard(files, run, corpus)
    step = max(1, len(files) // config.max_files) if config.max_files else 1
    return files[::step][: config.max_files or None]


def heard_among(files: Sequence[SpeechFile], run: Run, corpus: Path) -> list[SpeechFile]:
    """Those files of a corpus that shaped the run's weights, or whose speakers did."""
    asked, folder = {file.path.resolve() for file in files}, corpus.resolve()
    paths, speakers = set(), set()
    # one shard after the other: all recordings of a packed corpus may not fit
    for file in (file for line in _heard(run, corpus) for file in recordings_of(line)):
        path = file.path.resolve()
        paths |= {path} & asked
        # Another corpus may give its speakers the same names.
        speakers |= {file.speaker} if path.is_relative_to(folder) else set()
    return [file for file in files if file.path.resolve() in paths or file.speaker in speakers]


def _refuse_heard(files: Sequence[SpeechFile], run: Run, corpus: Path) -> None:
    known = heard_among(files, run, corpus)
    if known:
        raise UserError(
            f"run {run.id} was trained on {len(known)} of the {len(files)} test files of {corpus} or on their speakers,"
            f" such as {known[0].speaker} in {known[0].path}; give --data_dir other speech"
        )


def _heard(run: Run, corpus: Path | None = None) -> list[SpeechFile]:
    """The files that shaped the run's weights, its base's with them."""
    return [file for file in _recorded_files(run, corpus) if file.split != "test"]


def _recorded_files(run: Run, corpus: Path | None = None) -> list[SpeechFile]:
    """The files of a run; those of a run that ships are looked for in `corpus`, by default where they once lay."""
    folder = Path()
    if run.ships:
        folder = corpus or _own_corpus(run)
    files = [SpeechFile(folder / row["path"], row["speaker"], row["split"]) for row in _split_rows(run)]
    return [file for file in files if file.path.is_file()] if run.ships else files


def _own_corpus(run: Run) -> Path:
    """Where the speech lay that a run was trained on."""
    config = run.read_record(CONFIG)
    folder = config.get("data_dir") if isinstance(config, dict) else None
    if not isinstance(folder, str):
        raise UserError(f"expected a data_dir in {run.folder / CONFIG}, found none; restore the file")
    return Path(folder)


def _split_rows(run: Run) -> list[dict[str, str]]:
    rows = run.read_record(SPLITS)
    names = ("path", "speaker", "split")
    whole = isinstance(rows, list) and all(
        isinstance(row, dict) and all(isinstance(row.get(name), str) for name in names) for row in rows
    )
    if not whole:
        raise UserError(f"expected rows of path, speaker and split in {run.folder / SPLITS}, found others; restore it")
    return rows
