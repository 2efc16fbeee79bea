"""How this codec stands beside others: scores, curves, a page to listen to, listening tests."""
