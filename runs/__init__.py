"""Runs on disk: models, journals and their dependencies."""
