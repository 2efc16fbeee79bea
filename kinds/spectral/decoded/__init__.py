"""Parts that work on what a cascade has decoded: each is trained behind the frozen codec, by its own losses."""
