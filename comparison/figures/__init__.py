"""Figures of a comparison: curves, spectrograms, noise spectra, bits over time."""
