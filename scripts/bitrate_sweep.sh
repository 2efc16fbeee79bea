#!/usr/bin/env bash
# Rate-distortion curves of this codec alongside others: trains models over bitrates or target entropies and numbers of
# codecs, or takes given ones, scores each through written files on test speakers, and draws curves and tables.
#
#   scripts/bitrate_sweep.sh --data_dir SPEECH --kbps "9 16 24" --modules "1 2" [--output sweep] [-- FLAGS]
#   scripts/bitrate_sweep.sh --data_dir SPEECH --entropies "1.6 2.2 2.8" [--output sweep] [-- FLAGS]
#   scripts/bitrate_sweep.sh --data_dir SPEECH --models "ID ID/STAGE" [--output sweep]
#
# FLAGS go to main.py, such as --config cq_24k. --files_per_speaker 1 scores that many files only, --measures
# "pesq_wb stoi" these measures (ViSQOL is slow). Stopped, the same command continues and does nothing twice. Started on
# several machines with one folder for --output, they share the work (bitrate_sweep.slurm does so with SLURM).
# SWEEP_PYTHON=/path/to/python takes that interpreter instead of setting up .venv.
set -euo pipefail

stop() {
    echo "sweep: $*" >&2
    exit 2
}

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
data_dir="" output=sweep kbps="" entropies="" modules="" models="" files_per_speaker=0 measures="" flags=()
while (($#)); do
    case "$1" in
    --data_dir | --output | --kbps | --entropies | --modules | --models | --files_per_speaker | --measures)
        [[ $# -ge 2 ]] || stop "expected a value after $1, found none"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --)
        shift
        flags=("$@")
        break
        ;;
    *)
        stop "expected --data_dir, --output, --kbps, --entropies, --modules, --models, --files_per_speaker," \
            "--measures or --, found '$1'"
        ;;
    esac
done
[[ -d "$data_dir" ]] || stop "expected a folder of speech after --data_dir, found '$data_dir'"
[[ -n "$models$kbps$entropies" ]] || stop "expected --kbps or --entropies to train for, or --models, found none"
data_dir="$(realpath "$data_dir")" output="$(realpath -m "$output")"

if [[ -z "${SWEEP_PYTHON:-}" ]]; then
    source "$root/scripts/setup.sh"
    SWEEP_PYTHON=python
fi
cd "$root"

# Trains one stage of a point unless that is done, or in work by another.
train() {
    local stage="$1"
    shift
    "$SWEEP_PYTHON" -m comparison.claims "$output/points/$stage" "$SWEEP_PYTHON" main.py "${flags[@]}" \
        --data_dir "$data_dir" --check_dir "$output/check" --doc_dir "$output/doc" "$@"
}

# The folder of the newest run whose name ends so.
run_of() {
    find "$output/check" -maxdepth 1 -name "*$1" | sort | tail -n 1
}

# Trains a point: its short name, its number of codecs, and the flags of its rate.
train_point() {
    local count="$2" point="_$1_m$2" run
    shift 2
    train "greedy$point" --training_mode 4 --num_resnets "$count" "$@" --suffix "$point" || return
    run="$(run_of "${point}")"
    if ((count > 1)); then
        train "finetuned$point" --training_mode 5 --base_model_id "$(basename "${run%"$point"}")" \
            "$@" --suffix "${point}_finetuned" || return
        run="$(run_of "${point}_finetuned")"
    fi
    trained+=("$count codecs=$run")
}

# LABEL=ID of a trained run; the id stands for the run's latest stage.
named() {
    local label="${1%%=*}" run="${1#*=}"
    echo "$label=$(basename "$run" | cut -d_ -f1)"
}

trained=() postponed=()
for count in ${modules:-1}; do
    for rate in $kbps; do
        train_point "k$rate" "$count" --target_kbps "$rate" || postponed+=("k${rate}_m$count")
    done
    for entropy in $entropies; do
        train_point "e$entropy" "$count" --target_entropy "$entropy" --target_kbps 0 ||
            postponed+=("e${entropy}_m$count")
    done
done
measured=()
for each in "${trained[@]}"; do measured+=("$(named "$each")"); done
# given models lie in check/, trained ones in the sweep's own folder
measure() {
    local check_dir="$1"
    shift
    local chosen=()
    [[ -z "$measures" ]] || read -ra chosen <<<"--measures $measures"
    "$SWEEP_PYTHON" report.py measure --data_dir "$data_dir" --output "$output" --cache_dir "$output/coded" \
        --files_per_speaker "$files_per_speaker" --check_dir "$check_dir" "${chosen[@]}" "$@"
}
((${#measured[@]} == 0)) || measure "$output/check" --models "${measured[@]}"
read -ra given <<<"$models"
((${#given[@]} == 0)) || measure check --models "${given[@]}"
"$SWEEP_PYTHON" report.py draw --output "$output"
if ((${#postponed[@]})); then
    echo "sweep: not trained by now: ${postponed[*]}; in work by others or failed, the same command goes on" >&2
fi
