"""Speech to symbols and groups, and back."""
