"""Signal constants and initial codebooks, each with unit and reason.

Those that the bitstream fixes live in the codec, `nsc`, and are imported here by name.
"""

from typing import Final

from nsc.coding.filters import PRE_EMPHASIS
from nsc.constants import SAMPLE_RATE
from nsc.format.version_1 import (
    FRAME_LENGTH,
    FRAMES_PER_GROUP,
    GAIN_LEVELS,
    HOP,
    LPC_CONTEXT,
    LPC_ORDER,
    LPC_WINDOW_LENGTH,
    OVERLAP,
)
from nsc.kinds.samples.level import GAIN_DECAY_DB, GAIN_FLOOR_DB, GAIN_STEP_DB

WHITE_NOISE_CORRECTION: Final = 1.0001  # factor on r[0], a noise floor 40 dB down: float32 Levinson needs it
ENVELOPE_POINTS: Final = 32  # frequencies at which networks see the LPC envelope

# LSF codebook: 16 uniform levels for each of the 16 coefficients, kept as one flat list of 256 scalars.
LSF_LEVELS_PER_COEFFICIENT: Final = 16
LSF_CODEBOOK_SIZE: Final = LPC_ORDER * LSF_LEVELS_PER_COEFFICIENT
LSF_FIRST_LEVELS: Final = (
    0.0294, 0.0913, 0.2239, 0.2592, 0.4005, 0.5428, 0.7094, 0.9659,
    1.1372, 1.2801, 1.4605, 1.6275, 1.8040, 2.0111, 2.2546, 2.5534,
)  # radians  # fmt: skip
LSF_LAST_LEVELS: Final = (
    0.5846, 0.8424, 1.1018, 1.2745, 1.4298, 1.6081, 1.7709, 1.8979,
    2.0855, 2.2823, 2.4784, 2.5532, 2.6959, 2.8687, 3.0072, 3.1013,
)  # radians  # fmt: skip

# Quantisers.
SCALAR_CODE_LIMIT: Final = 1.0  # scalar codes leave a tanh
VECTOR_CODE_LENGTH: Final = 2  # code values in one vector
VECTOR_CODEBOOK_SIDE: Final = 32  # the initial vector codebook is a 32 x 32 grid
VECTOR_CODEBOOK_LIMIT: Final = 0.1  # half the side of that grid
MU: Final = 63.0  # mu-law companding of the code
