"""Models on samples, in format version 1."""
