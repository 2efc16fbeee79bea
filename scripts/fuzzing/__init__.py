"""Hostile input by the million: streams under right checksums, models under right hashes, audio headers that lie."""
