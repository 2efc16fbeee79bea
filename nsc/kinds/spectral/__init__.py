"""Models on the lapped spectrum, in format version 2."""
