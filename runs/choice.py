"""Choice of the saved run and stage that a training mode works on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nsc.console import log
from nsc.errors import UserError
from options.config import Config
from runs.runs import Run, find_run
from runs.saved_model import saved_config
from runs.stages import stage_folders

FIRST, FINETUNE = "first", "finetune"
# from_where_step counts differently in the two modes that read it; 0 is the latest stage.
GREEDY = {0: 1, 5: 2}
FINETUNED = {0: 2, 5: 3}


def saved_stage(config: Config) -> tuple[Run, Path]:
    """The saved run that mode 0, 2 or 5 works on, and the folder of its stage.

    Where nothing is finetuned, mode 0 takes the latest stage for a finetuned one, and says so: the first README
    evaluates with the flags of its training, --from_where_step 2 among them.
    """
    if config.training_mode != 0 or not _wants_finetuned(config):
        return _stage_asked_for(config)
    try:
        return _stage_asked_for(config)
    except UserError:
        run, stage = _stage_asked_for(dataclasses.replace(config, from_where_step=0))
    log.info(
        "run %s is not finetuned, which --training_mode 5 --base_model_id %s does: its stage %s is evaluated",
        *(run.id, run.id, stage.name),
    )
    return run, stage


def _stage_asked_for(config: Config) -> tuple[Run, Path]:
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
    """The kind of run that a mode looks for, and how to make one where that is not obvious."""
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
        return [
            folder
            for name, folder in folders.items()
            if name == FIRST or (name == FINETUNE and saved_config(folder).num_modules == 1)
        ]
    if step not in (0, GREEDY[mode], FINETUNED[mode]):
        raise UserError(
            f"argument --from_where_step: expected {GREEDY[mode]} (greedy), {FINETUNED[mode]} (finetuned)"
            f" or 0 (the latest) in mode {mode}, found {step}"
        )
    if mode == 5 and not config.base_model_id:
        step = step or GREEDY[mode]  # or else the same command run twice would finetune its own result
    unwanted = {GREEDY[mode]: [FINETUNE], FINETUNED[mode]: [name for name in folders if name != FINETUNE]}
    return [folder for name, folder in folders.items() if name not in unwanted.get(step, [])]
