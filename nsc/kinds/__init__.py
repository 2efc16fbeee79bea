"""The kinds of model: on samples, in format version 1, and on the lapped spectrum, in version 2."""
