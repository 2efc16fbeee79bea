"""Sweeps: every model of a grid trained, finetuned and scored, by Dask; `python -m scripts.sweep --help`."""
