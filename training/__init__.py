"""From a configuration to a trained cascade."""
