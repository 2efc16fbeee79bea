"""The codec as a package: `nsc` alone, with its command and the models that ship. The pipeline runs from the clone."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MODEL_FILES = [
    "codec.json",
    "encoder.tflite",
    "decoder.tflite",
    "enhancer.tflite",
    "concealment.tflite",
    "tables.npz",
    "README.md",
]


def version() -> str:
    """As nsc/version.py says, which is not imported: its package's dependencies may not be there yet."""
    [found] = re.findall(r'^__version__ = "(.+)"$', (ROOT / "nsc" / "version.py").read_text(), re.MULTILINE)
    return found


class BuildAfresh(build_py):
    """Builds into an empty folder: what an earlier build left there would come into the wheel."""

    def run(self) -> None:
        """Empties the folder and builds."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(
    name="neural-speech-coding",
    version=version(),
    description="Neural speech codec: 16 kHz speech at 6 to 32 kbps, by collaborative quantization",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)),
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    cmdclass={"build_py": BuildAfresh},
    packages=find_packages(include=["nsc", "nsc.*"]),
    package_data={"nsc": ["py.typed", "demo/page/*", *(f"pretrained/*/{name}" for name in MODEL_FILES)]},
    entry_points={"console_scripts": ["nsc = nsc.cli:main"]},
    install_requires=[
        "numpy>=2.0",
        "soundfile>=0.13",
        "soxr>=0.5",
        "constriction>=0.5,<0.6",  # other releases may write other bytes
        "ai-edge-litert>=2.1,<3",
    ],
    extras_require={
        "train": [  # used from the clone, by main.py and the rest of the pipeline
            "tensorflow>=2.20,<2.22",  # a run continues bit for bit only on the release that began it
            "tensorboard>=2.20,<2.22",  # TensorFlow 2.21 no longer brings it
            "scipy>=1.13",
            "pesq>=0.0.4",
            "pystoi>=0.4.1",
            "tabulate>=0.9",
            "tqdm>=4.66",
            "av>=14",  # decodes the sample speech
            "distributed>=2026.8",  # shares out sweeps and comparisons
            "dask-jobqueue>=0.9",  # in jobs of Slurm
            "bokeh>=3.1",  # draws Dask's dashboard
        ],
        "report": ["matplotlib>=3.9", "jinja2>=3.1"],
        # without the lattice its scores are those of an older mapping; speequal, its kin in C++, needs Bazel to install
        "visqol": ["visqol-python[lattice]>=3.8,<4", "numba>=0.60"],
        # judges of report.py and scripts.jury; NISQA's code and weights are used from where NISQA_DIR names them
        "jury": [
            "torch>=2.2",
            "distillmos>=0.9,<0.10",
            "warpq>=1.5,<1.6",
            "pyvad>=0.1.3",
            "setuptools<81",  # webrtcvad, which pyvad needs, imports pkg_resources
            "librosa>=0.10",
            "pandas>=2",
            "speechmos>=0.0.1",
            "onnxruntime>=1.17",
        ],
        "codec2": ["pycodec2>=4"],  # a codec to compare with
        "call": ["sounddevice>=0.5", "pylibsrtp>=0.10"],  # microphone and loudspeaker; encryption
        "dev": [
            "build>=1",
            "pre-commit>=4",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6",
            "scapy>=2.6",  # parses the packets of calls
            "pylibsrtp>=0.10",
            "ruff>=0.17,<0.18",  # its formatting is checked, so every machine needs the same
            "mypy>=2.0,<3",
            "scipy-stubs",
            "types-tabulate",
            "types-tqdm",
        ],
        "browser": ["playwright>=1.48"],  # tests of the report's page
    },
)
