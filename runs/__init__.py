"""Runs on disk: models, journals, what they depend on."""
