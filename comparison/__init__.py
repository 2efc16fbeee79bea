"""Comparison with other codecs: scores, curves, a page to listen to, listening tests."""
