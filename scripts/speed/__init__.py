"""Work and timing of the benchmarks."""
