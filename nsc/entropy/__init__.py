"""Symbols to bytes and back, under integer probability tables."""
