#!/usr/bin/env bash
# Trains on all nodes and GPUs of a SLURM job: sbatch --nodes 4 --gpus-per-node 8 scripts/slurm_train.sh <flags of main.py>
# Speech, check/ and doc/ must lie in folders that all nodes see. One task a node takes all of the node's GPUs.
#
# When a task dies the others end, and all start again from the last checkpoint, TRAIN_RESTARTS times (3); a mistake in
# the flags ends the job. TRAIN_PYTHON=/path/to/python takes that interpreter instead of setting up .venv.
#SBATCH --job-name=train
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=train_%j.log
set -euo pipefail

USER_ERROR=2 # exit status of main.py, also of a worker that has lost another

stop() {
    echo "train: $*" >&2
    exit "$USER_ERROR"
}

# The cluster as TensorFlow wants it, from the task's own view of the job.
tf_config() {
    local names hosts addresses
    names="$(scontrol show hostnames "$SLURM_JOB_NODELIST")" || stop "expected the names of the nodes, scontrol failed"
    mapfile -t hosts <<<"$names"
    # jobs that share a node need ports of their own
    printf -v addresses "\"%s:$((20000 + SLURM_JOB_ID % 20000))\"," "${hosts[@]}"
    echo "{\"cluster\": {\"worker\": [${addresses%,}]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_NODEID}}"
}

start_all() {
    srun --ntasks-per-node=1 --kill-on-bad-exit=1 bash scripts/slurm_train.sh --as-task "$@"
}

[[ -n "${SLURM_JOB_ID:-}" && -n "${SLURM_JOB_NODELIST:-}" ]] ||
    stop "expected a SLURM job, found none; start it by: sbatch --nodes 2 --gpus-per-node 1 scripts/slurm_train.sh FLAGS"
cd "${SLURM_SUBMIT_DIR:-.}"

if [[ "${1:-}" == --as-task ]]; then
    shift
    [[ "${SLURM_NTASKS:-1}" == "${SLURM_NNODES:-1}" ]] ||
        stop "expected one task a node, found $SLURM_NTASKS tasks on $SLURM_NNODES nodes; use --ntasks-per-node 1"
    TF_CONFIG="$(tf_config)"
    export TF_CONFIG
    exec "$TRAIN_PYTHON" main.py --distribute multiworker "$@"
fi

if [[ -z "${TRAIN_PYTHON:-}" ]]; then
    source scripts/setup.sh
    TRAIN_PYTHON="$VIRTUAL_ENV/bin/python"
fi
export TRAIN_PYTHON
for ((left = ${TRAIN_RESTARTS:-3}; ; left--)); do
    status=0
    start_all "$@" || status=$?
    # srun ends with the highest status of all tasks: one that was killed has 128 and more
    ((status > USER_ERROR && left > 0)) || exit "$status"
    echo "train: a task ended with status $status; all start again from the last checkpoint" >&2
done
