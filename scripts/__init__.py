"""Programs around the pipeline, run from the clone's root: python -m scripts.NAME."""
