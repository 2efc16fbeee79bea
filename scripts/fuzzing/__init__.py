"""Hostile input: streams under valid checksums, models under valid hashes, false audio headers."""
