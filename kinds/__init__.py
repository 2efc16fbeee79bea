"""The kinds of network: on samples, as in the papers, and on the lapped spectrum."""
