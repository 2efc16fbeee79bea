"""Speech made ready: sample speech, splits of TIMIT."""
