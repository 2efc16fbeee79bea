"""Work and timing of `scripts/benchmark.py`."""
