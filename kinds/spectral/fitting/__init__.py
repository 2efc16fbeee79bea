"""What is fitted to the symbols of training speech when a cascade is trained: the coder, and the rate once more."""
