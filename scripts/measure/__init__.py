"""Measurements behind choices: probability models, reading of speech, LSF spacing, exported graphs."""
