"""Signal constants and initial codebooks, each with its unit and its reason."""

from typing import Final

# Framing. Every frame carries 480 new samples (30 ms) and cross-fades 32 samples with each neighbour.
SAMPLE_RATE: Final = 16_000  # Hz
FRAME_LENGTH: Final = 512  # samples
OVERLAP: Final = 32  # samples shared by two neighbouring frames
HOP: Final = FRAME_LENGTH - OVERLAP  # samples, 30 ms
FRAMES_PER_GROUP: Final = 16  # frames that share one gain, 0.48 s

# Linear prediction. The analysis window reaches 256 samples beyond the frame on both sides.
LPC_ORDER: Final = 16
LPC_CONTEXT: Final = 256  # samples before and after the frame, each under a half Hann window
LPC_WINDOW_LENGTH: Final = FRAME_LENGTH + 2 * LPC_CONTEXT  # samples
PRE_EMPHASIS: Final = 0.68  # coefficient of 1 - 0.68 z^-1, as in AMR-WB
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

# Gain: one index a group, uniform in decibels, so that 64 levels reach from digital silence to full scale.
GAIN_STEP_DB: Final = 1.5
GAIN_LEVELS: Final = 64
GAIN_FLOOR_DB: Final = -90.0  # dB relative to full scale, the level of index 0
GAIN_DECAY_DB: Final = 6.0  # largest fall of the gain from one group to the next: pauses stay quiet

# Quantisers.
SCALAR_CODE_LIMIT: Final = 1.0  # scalar codes leave a tanh
VECTOR_CODE_LENGTH: Final = 2  # code values in one vector
VECTOR_CODEBOOK_SIDE: Final = 32  # the initial vector codebook is a 32 x 32 grid
VECTOR_CODEBOOK_LIMIT: Final = 0.1  # half the side of that grid
MU: Final = 63.0  # mu-law companding of the code

# Probability tables are integers that sum to a power of two, so that every machine decodes the same symbols.
TABLE_PRECISION_BITS: Final = 16
