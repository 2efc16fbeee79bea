#!/usr/bin/env bash
# The papers' experiment: K-Net's and CMRL's codecs without LPC, LPC with a fixed codebook and CQ at 9 to 32 kbps, strides 2
# and 4, greedy and finetuned, as configs/sweeps/paper.toml has it.
#
#   scripts/reproduce_paper.sh DATA_DIR [--dry_run] [--output reproduction] [--kbps 9 16 ...] [--strides 2 4]
#       [--methods knet cmrl lpc_cmrl cq] [--max_files 0] [FLAGS of scripts.sweep] [-- FLAGS of main.py]
#
# --dry_run prints the runs with an estimate of hours on this machine. A TIMIT tree is split into 300 training and 50
# test speakers. Stopped, the same command continues; --processes, --scheduler and --slurm run trainings side by side.
# REPRODUCE_PYTHON=/path/to/python takes that interpreter instead of setting up .venv.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ -z "${REPRODUCE_PYTHON:-}" ]]; then
    here="$PWD"
    source "$root/scripts/setup.sh"
    cd "$here"
    REPRODUCE_PYTHON=python
fi

declare -A axis=([--kbps]=target_kbps [--strides]=the_strides [--methods]=method)
own=() flags=(--output reproduction)
while (($#)); do
    if [[ -n "${axis[$1]:-}" ]]; then
        name="${axis[$1]}" values=()
        while (($# > 1)) && [[ "$2" != -* ]]; do
            values+=("$2")
            shift
        done
        flags+=(--set "$name=${values[*]}")
    elif [[ "$1" == -- ]]; then
        own=("$@")
        break
    elif [[ "$1" != -* && -z "${data_dir:-}" ]]; then
        data_dir="$1"
        flags+=(--data_dir "$1")
    elif (($# > 1)) && [[ "$2" != -* ]]; then # another flag and its value
        flags+=("$1" "$2")
        shift
    else
        flags+=("$1")
    fi
    shift
done
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$REPRODUCE_PYTHON" -m scripts.sweep "$root/configs/sweeps/paper.toml" "${flags[@]}" "${own[@]}"
