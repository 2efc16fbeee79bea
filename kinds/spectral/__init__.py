"""Neural codecs on the lapped spectrum of speech."""
