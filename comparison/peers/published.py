"""Numbers published in the papers, shown alongside ours."""

from __future__ import annotations

from typing import Final

Rates = tuple[tuple[float, float], ...]  # (kbps, PESQ-WB), rising

# PESQ-WB on 500 test files of TIMIT: K-Net, the predecessor (1.56 M parameters), and classical codecs on the same
# files. The rates of K-Net and AMR-WB are those that the papers give, of the others nominal ones.
PESQ_ON_TIMIT: Final[dict[str, Rates]] = {
    "K-Net, published": ((9.02, 3.63), (16.24, 4.13), (20.06, 4.22), (24.06, 4.30), (32.25, 4.41)),
    "AMR-WB, published": ((8.85, 3.52), (15.85, 4.06), (19.85, 4.15), (23.85, 4.18)),
    "Opus, published": ((9.0, 3.27), (16.0, 4.22), (20.0, 4.36), (24.0, 4.43), (32.0, 4.51)),
    "Speex, published": ((9.0, 3.25), (16.0, 3.72), (20.0, 3.88), (24.0, 4.10), (32.0, 4.20)),
}
