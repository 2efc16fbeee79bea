"""The project as a package: its modules, what it needs, and the one place that holds its version."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

setup(
    name="neural-speech-coding",
    version="0.1.0",
    description="Collaborative quantization of speech: LPC with a learned codebook, cascaded neural codecs",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    py_modules=sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "setup"),
    packages=find_packages(exclude=["tests", "tests.*"]),
    package_data={"comparison": ["page/*"], "configs": ["*.toml"]},
    install_requires=[
        "tensorflow>=2.20,<2.22",  # a run continues bit for bit only on the release that began it
        "tensorboard>=2.20,<2.22",  # TensorFlow 2.21 no longer brings it
        "constriction>=0.5,<0.6",  # other releases may write other bytes
        "numpy>=2.0",
        "scipy>=1.13",
        "soundfile>=0.13",
        "pesq>=0.0.4",
        "pystoi>=0.4.1",
        "tabulate>=0.9",
        "tqdm>=4.66",
    ],
    extras_require={
        "dev": [
            "pytest>=8",
            "hypothesis>=6",
            "ruff>=0.17,<0.18",  # its formatting is checked, so every machine needs the same
            "mypy>=2.0,<3",
            "scipy-stubs",
            "types-tabulate",
            "types-tqdm",
        ],
        "sample-speech": ["av>=14"],
        # without the lattice its scores are those of an older mapping; speequal, its kin in C++, needs Bazel to install
        "visqol": ["visqol-python[lattice]>=3.8,<4", "numba>=0.60"],  # 12 times as fast as without numba
        "export": ["ai-edge-litert>=2,<3"],  # runs LiteRT graphs; writing them needs TensorFlow only
        "report": ["matplotlib>=3.9", "jinja2>=3.1", "pyyaml>=6"],
        "browser": ["playwright>=1.48"],  # tests of the report's page
    },
)
