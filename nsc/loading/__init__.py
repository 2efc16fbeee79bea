"""Trained models on disk: what their folders hold, how they are found, and LiteRT, which runs them."""
