"""Modes 1 to 5: which data, which saved model and which run they train."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus.find import find_speech
from corpus.interface import Corpus
from corpus.shards import open_corpus
from corpus.speech_file import SpeechFile
from nsc.console import log
from nsc.errors import UserError
from options.common import CONCEALMENT, ENHANCER
from options.config import Config, check_known, from_dict
from options.option import shown
from runs.choice import FINETUNE, FINETUNED, GREEDY, saved_stage
from runs.heard import BASE, CONFIG, ENVIRONMENT, SPLITS, heard
from runs.runs import Journal, Run, changed_environment, environment, find_or_create_run
from runs.saved_model import saved_config
from training.distribute import Cluster, join_cluster
from training.loop import Training
from training.same_speech import check_same_samples


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
    base_run, base = saved_stage(config) if config.training_mode in (2, 5) else (None, None)
    config = _resolved(config, base_run, base, named)
    config = dataclasses.replace(config, data_dir=str(Path(config.data_dir).resolve()))  # however it is spelled
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
        log.info("skipped: %s", line)
    check_same_samples(run, corpus)
    _tell_followers(cluster, run, config)
    _check_same_speech(cluster, corpus, config.data_dir)
    journal = Journal(run, config.doc_dir)
    now = _environment(config, cluster.replicas)
    if (run.folder / ENVIRONMENT).exists():
        _tell_changes(run, journal, now)
    else:
        _record(run, config, files, base_run, now)
        journal.write("run", id=run.id, seed=config.seed, **corpus.speakers())
    log.info("run %s in %s, journal %s", run.id, run.folder, journal.text)
    Training(config, run, corpus, cluster, journal, base).execute()
    log.info("finished: --training_mode 0 --base_model_id %s evaluates it", run.id)
    return run


def _tell_followers(cluster: Cluster, run: Run, config: Config) -> None:
    cluster.text_from_chief(json.dumps([run.id, str(run.folder), run.status, run.fingerprint, config.to_dict()]))


def _follow(cluster: Cluster) -> Run:
    """Trains with the chief, which decides what, and writes nothing but the decoded corpus where that is missing."""
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


def _resolved(config: Config, base_run: Run | None, base: Path | None, named: dict[str, Any]) -> Config:
    """The configuration as it decides the run: what the mode does not read is blank, a saved model is named in full."""
    if base_run is None or base is None:
        return dataclasses.replace(config, base_model_id="", from_where_step=0)
    if config.training_mode == 2 and config.num_modules < 2:
        raise UserError(
            "argument --num_resnets: expected at least 2 in mode 2, which adds codecs to a saved one, found 1"
        )
    step = 0
    if config.training_mode == 5:
        step = (FINETUNED if base.name == FINETUNE else GREEDY)[5]
    resolved = _with_network_of(config, base, named)
    check_known(named, resolved)
    _check_original_finetuning(resolved, base_run)
    part = resolved.finetuned
    if resolved.training_mode == 5 and part in (ENHANCER, CONCEALMENT) and not getattr(resolved, f"{part}_width"):
        raise UserError(
            f"argument --finetuned: run {base_run.id} has no {part}; --{part}_width adds one to spectral networks"
        )
    return dataclasses.replace(resolved, base_model_id=base_run.id, from_where_step=step)


def _check_original_finetuning(config: Config, base_run: Run) -> None:
    """Raises UserError where mode 5 of the first implementation's README, of April 2020, had no such codec."""
    scalar_waveform = config.time_domain and set(config.quantizer) == {"scalar"}
    if config.training_mode == 5 and config.original_modes and not scalar_waveform:
        lpc, kinds = "no LPC" if config.time_domain else "LPC", " and ".join(dict.fromkeys(config.quantizer))
        raise UserError(
            "argument --original_modes: mode 5 of April 2020 finetunes scalar codecs without LPC only,"
            f" run {base_run.id} has {lpc} and {kinds} codes; --original_modes 0 finetunes it"
        )


def _with_network_of(config: Config, base: Path, named: dict[str, Any]) -> Config:
    """The configuration with the saved model's network; a flag that says otherwise is named and ignored."""
    saved = saved_config(base)
    whole = _spelled_out(config)
    widths = tuple(f"{part}_width" for part in (ENHANCER, CONCEALMENT))
    # of parts that are added to a model that has none, or left out where a flag says so
    parts = tuple(name for name in widths if not getattr(saved, name) or named.get(name) == 0)
    if config.training_mode == 2:  # the followers are the flags' own
        first, own = saved.by_module(), config.by_module()
        mixed = {name: first[name][:1] + values[1:] for name, values in own.items()}
        if len(set(mixed["quantizer"])) == 1:
            mixed["quantizer"] = mixed["quantizer"][:1]
        resolved = dataclasses.replace(whole.with_network_of(saved, keep=("num_modules", *own, *parts)), **mixed)
    else:
        resolved = whole.with_network_of(saved, keep=parts)
    typed, before, after = config.to_dict(), whole.to_dict(), _spelled_out(resolved).to_dict()
    for flag in named:
        if before[flag] != after[flag]:
            log.info("--%s %s is overridden by the saved model's %s", flag, *map(shown, (typed[flag], after[flag])))
    return resolved


def _spelled_out(config: Config) -> Config:
    """The configuration with a value of every module where it has lists of them."""
    return dataclasses.replace(config, **config.by_module())


def _run_of(config: Config, files: Sequence[SpeechFile]) -> Run:
    return find_or_create_run(
        config.identity(),
        [f"{file.path} {file.speaker} {file.split}" for file in files],
        check_dir=config.check_dir,
        doc_dir=config.doc_dir,
        suffix=config.suffix + config.name_mark,
        fresh=config.new,
    )


def _environment(config: Config, replicas: int) -> dict[str, Any]:
    # unset where they are off, as in runs that began before there were such flags
    optional = {"deterministic": config.deterministic, "tf32": config.tf32, "xla": config.xla}
    return environment(config.threads, 0) | {
        **{name: value or None for name, value in optional.items()},
        "replicas": replicas if replicas > 1 else None,
    }


def _tell_changes(run: Run, journal: Journal, now: dict[str, Any]) -> None:
    for line in changed_environment(run.read_record(ENVIRONMENT), now):
        log.info("no longer bit-identical: %s", line)
        journal.write("changed", what=line)


def _record(run: Run, config: Config, files: Sequence[SpeechFile], base_run: Run | None, now: dict[str, Any]) -> None:
    """Writes what the run depends on; its environment last, by which a run counts as begun."""
    run.write_record(CONFIG, config.to_dict())
    # What the saved model was trained on stays on record: no later test may use it.
    earlier = [dataclasses.replace(file, split=BASE) for file in heard(base_run)] if base_run else []
    rows = [{"path": str(file.path), "speaker": file.speaker, "split": file.split} for file in [*files, *earlier]]
    run.write_record(SPLITS, rows)
    run.write_record(ENVIRONMENT, now)


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
