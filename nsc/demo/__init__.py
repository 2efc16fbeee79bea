"""A page on this machine that codes speech while one listens: `nsc demo`."""
