"""Numbers published in the papers, shown alongside ours, with where they stand as far as that is known."""

from __future__ import annotations

from typing import Final

Rates = tuple[tuple[float, float], ...]  # (kbps, PESQ-WB), rising

CMRL: Final = "Zhen et al., Interspeech 2019, pages 3396-3400, doi:10.21437/Interspeech.2019-1816"
CQ: Final = "Zhen et al., ICASSP 2020, doi:10.1109/ICASSP40776.2020.9054347"

# PESQ-WB on 500 test files of TIMIT: K-Net, the predecessor (1.56 M parameters), and classical codecs on the same
# files. The rates of K-Net and AMR-WB are those that the papers give, of the others nominal ones.
PESQ_ON_TIMIT: Final[dict[str, Rates]] = {
    "K-Net, published": ((9.02, 3.63), (16.24, 4.13), (20.06, 4.22), (24.06, 4.30), (32.25, 4.41)),
    "AMR-WB, published": ((8.85, 3.52), (15.85, 4.06), (19.85, 4.15), (23.85, 4.18)),
    "Opus, published": ((9.0, 3.27), (16.0, 4.22), (20.0, 4.36), (24.0, 4.43), (32.0, 4.51)),
    "Speex, published": ((9.0, 3.25), (16.0, 3.72), (20.0, 3.88), (24.0, 4.10), (32.0, 4.20)),
}
# What the papers' abstracts claim of their own systems: no PESQ of these is known here. Of the table above neither
# paper, table nor page is known for certain: it is handed on with the predecessor.
CLAIMS: Final[dict[str, tuple[str, str]]] = {
    "CMRL": ("better objective scores than AMR-WB and K-Net, with 0.9 M parameters", CMRL),
    "LPC-CMRL": ("better than AMR-WB and Opus at high rates in a listening test", CMRL),
    "CQ": (
        "at 9 kbps much better than its predecessor at lower complexity, at 24 kbps better than AMR-WB and Opus",
        CQ,
    ),
}
