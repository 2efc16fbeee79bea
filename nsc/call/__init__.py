"""A call over UDP between two processes, in the packets of docs/rtp.md: `nsc call`."""
