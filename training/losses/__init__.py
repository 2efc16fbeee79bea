"""Losses on speech as it is heard, and sums over the devices that share a batch."""
