"""Programs beside the pipeline, run from the clone's root: python -m scripts.NAME."""
