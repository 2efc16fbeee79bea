"""Mode 0: scores and rates of written files."""
