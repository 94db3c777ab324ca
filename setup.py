"""Metadata of msam_nn, and the one file an install adds beside the packages: ``msam_nn.pth``."""

from pathlib import Path
from runpy import run_path

from setuptools import Distribution, find_packages, setup

DEPENDENCIES = [
    "nnunetv2>=2.8.1,<2.9",
    "torch>=2.6,!=2.9.*",
    "acvl-utils",
    "batchgenerators",
    "blosc2",
    "connected-components-3d",
    "jinja2",
    "matplotlib",
    "nibabel",
    "numpy",
    "packaging",
    "pandas",
    "psutil",
    "scipy",
    "SimpleITK",
    "surface-distance",
    "tqdm",
]

SERVE = ["fastapi>=0.115", "uvicorn>=0.30", "nninteractive-client>=2.6,<3"]
BASELINES = ["monai>=1.4", "einops"]
ARENA = ["submitit>=1.5", "rich>=13", "pyyaml>=6"]
EXTRAS = {
    "arena": ARENA,
    "baselines": BASELINES,
    "docs": ["mkdocs-material>=9", "mkdocstrings[python]>=0.26"],
    "ray": ["ray>=2.40", *ARENA],
    "serve": SERVE,
    "test": [
        "pytest>=8",
        "pytest-xdist>=3.5",
        "ruff>=0.9",
        "hypothesis>=6",
        "schemathesis>=4",
        "playwright>=1.45",
        "transformers>=4.50",
        *ARENA,
        *BASELINES,
        *SERVE,
    ],
}


class DistributionWithData(Distribution):
    """setuptools' editable build asks for ``has_data``; without it an editable install leaves data files out."""

    def has_data(self) -> bool:
        return self.has_data_files()


setup(
    name="msam_nn",
    version=run_path("msam_nn/__init__.py")["__version__"],
    description="Promptable tumour segmentation inside nnU-Net v2: M-SAM as planners and trainers",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.10",
    install_requires=DEPENDENCIES,
    extras_require=EXTRAS,
    packages=find_packages(include=["msam_nn", "msam_nn.*", "dataset_conversion", "dataset_conversion.*"]),
    package_data={"msam_nn.reports": ["templates/*.html"], "msam_nn.server.page": ["static/*", "vendor/*"]},
    entry_points={"console_scripts": ["msam = msam_nn.cli.main:main"]},
    # A wheel keeps data files in <name>.data/data. Two folders up is the wheel's root, which lands in site-packages
    # for every Python version, where `relpath(purelib, data)` would tie the wheel to the version that built it.
    data_files=[("../..", ["msam_nn.pth"])],
    distclass=DistributionWithData,
)
