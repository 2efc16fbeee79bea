"""A page in the browser to code speech and listen: `nsc demo`."""
