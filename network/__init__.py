"""Front ends of the cascade, and whole signals through it."""
