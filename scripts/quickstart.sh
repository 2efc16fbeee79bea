#!/usr/bin/env bash
# From a fresh machine to a trained, finetuned and evaluated small cascade; run again, it trains nothing twice.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

bash scripts/get_sample_speech.sh
for mode in 4 5 0; do # the cascade, its finetuning, its evaluation
    python main.py --config configs/quickstart.toml --training_mode "$mode"
done

results="$(ls -td end2end_performance/*/ | head -n 1)"
echo "quickstart: the table and the decoded files are in $root/${results%/}"
