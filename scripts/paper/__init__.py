"""The papers' experiment, see scripts/reproduce_paper.sh."""
