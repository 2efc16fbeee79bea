"""The page to listen to, and listening tests."""
