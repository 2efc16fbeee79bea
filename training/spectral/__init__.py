"""Training of cascades on the lapped spectrum."""
