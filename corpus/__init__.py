"""Speech on disk to batches of frames."""
