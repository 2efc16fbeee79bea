"""Numbers of a comparison: curves, rows, tables, and the summary that is kept with the code."""
