"""Trained models as graphs for other machines."""
