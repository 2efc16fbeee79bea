"""The codec: what runs a trained model."""
