"""Speech to .nsc streams and back: encoder, decoder, and what they see of a model (`interface`)."""
