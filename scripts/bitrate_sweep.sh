#!/usr/bin/env bash
# Rate-distortion curves of this codec alongside others: trains models over bitrates or target entropies and numbers of
# codecs, or takes given ones, scores each through written files on test speakers, and draws curves and tables.
#
#   scripts/bitrate_sweep.sh --data_dir SPEECH --kbps "9 16 24" --modules "1 2" [--output sweep] [-- FLAGS]
#   scripts/bitrate_sweep.sh --data_dir SPEECH --entropies "1.6 2.2 2.8" [--output sweep] [-- FLAGS]
#   scripts/bitrate_sweep.sh --data_dir SPEECH --models "ID ID/STAGE" [--output sweep]
#
# FLAGS go to main.py, such as --config cq_24k. --files_per_speaker 1 scores that many files only, --measures
# "pesq_wb stoi" these measures (ViSQOL is slow). Stopped, the same command continues and does nothing twice. Models are
# trained one after the other; --processes 4, --scheduler ADDRESS or --slurm JOBS, with --slurm_options "--gpus=1" if
# need be, share them out, as they do files to score (bitrate_sweep.slurm does so from within SLURM).
# SWEEP_PYTHON=/path/to/python takes that interpreter instead of setting up .venv.
set -euo pipefail

stop() {
    echo "sweep: $*" >&2
    exit 2
}

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
data_dir="" output=sweep kbps="" entropies="" modules="" models="" files_per_speaker=0 measures="" flags=() place=()
while (($#)); do
    case "$1" in
    --data_dir | --output | --kbps | --entropies | --modules | --models | --files_per_speaker | --measures)
        [[ $# -ge 2 ]] || stop "argument $1: expected one argument"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --processes | --scheduler | --slurm | --slurm_options)
        [[ $# -ge 2 ]] || stop "argument $1: expected one argument"
        place+=("$1=$2")
        shift 2
        ;;
    --)
        shift
        flags=("$@")
        break
        ;;
    *)
        stop "unrecognized arguments: $1"
        ;;
    esac
done
[[ -d "$data_dir" ]] || stop "argument --data_dir: no folder '$data_dir'"
[[ -n "$models$kbps$entropies" ]] || stop "one of the arguments --kbps --entropies --models is required"
data_dir="$(realpath "$data_dir")" output="$(realpath -m "$output")"

if [[ -z "${SWEEP_PYTHON:-}" ]]; then
    source "$root/scripts/setup.sh"
    SWEEP_PYTHON=python
fi
cd "$root"

status=0 trained=()
# Trains the grid with these values of its axes; adds LABEL=ID of each model to `trained`.
train() {
    local settings=() found
    for setting in "num_resnets=${modules:-1}" "$@"; do settings+=(--set "$setting"); done
    found="$("$SWEEP_PYTHON" -m scripts.sweep configs/sweeps/bitrates.toml --data_dir "$data_dir" --output "$output" \
        "${settings[@]}" "${place[@]}" -- "${flags[@]}")" || status=$?
    ((status < 2)) || exit "$status"
    mapfile -t -O "${#trained[@]}" trained < <(printf %s "${found:+$found$'\n'}")
}

[[ -z "$kbps" ]] || train "target_kbps=$kbps"
[[ -z "$entropies" ]] || train "target_kbps=0" "target_entropy=$entropies"
# given models lie in check/, trained ones in the sweep's own folder
measure() {
    local check_dir="$1"
    shift
    local chosen=()
    [[ -z "$measures" ]] || read -ra chosen <<<"--measures $measures"
    "$SWEEP_PYTHON" report.py measure --data_dir "$data_dir" --output "$output" --cache_dir "$output/coded" \
        --files_per_speaker "$files_per_speaker" --check_dir "$check_dir" "${chosen[@]}" "${place[@]}" --models "$@"
}
((${#trained[@]} == 0)) || measure "$output/check" "${trained[@]}"
read -ra given <<<"$models"
((${#given[@]} == 0)) || measure check "${given[@]}"
"$SWEEP_PYTHON" report.py draw --output "$output"
exit "$status"
