"""Flags: what they mean, how they are read, and their bounds; configs/ holds experiments that set them."""
