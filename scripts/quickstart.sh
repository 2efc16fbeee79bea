#!/usr/bin/env bash
# From a fresh machine to a coded file and a trained, finetuned and evaluated small cascade; run again, it trains
# nothing twice.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

bash scripts/speech/get_sample_speech.sh

# a file of a voice that no model was trained on, with the best of the models that ship
sample="data/sample_speech/$(awk -F, '$3 == "test" { print $1; exit }' data/sample_speech/manifest.csv)"
mkdir -p end2end_performance
python -m nsc encode "$sample" end2end_performance/sample.nsc --force
python -m nsc decode end2end_performance/sample.nsc end2end_performance/sample.wav --force
echo "quickstart: $sample, decoded: $root/end2end_performance/sample.wav"

for mode in 4 5 0; do # a cascade of its own, its finetuning, its evaluation
    python main.py --config configs/quickstart.toml --training_mode "$mode"
done

results="$(ls -td end2end_performance/*/ | head -n 1)"
echo "quickstart: the table and the decoded files are in $root/${results%/}"
