"""Other codecs, one module for each program or library that runs them."""
