"""The experiments, and the options that they set."""
