"""Neural codecs on samples of the LPC residual."""
