"""What belongs to the cascade: its front ends, and whole signals through it."""
