"""What attempts break, and how they are registered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

MODEL_NAME = "MSAMTrainer__MSAMPlans__3d_fullres"


@dataclass
class World:
    """A folder with nnU-Net's folders, an untrained model of fold 0, a folder of images and a prompt file."""

    root: Path
    dataset: str
    setenv: Callable[[str, str], None]
    delenv: Callable[[str], None]

    @property
    def raw(self) -> Path:
        return self.root / "raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed" / self.dataset

    @property
    def model(self) -> Path:
        return self.root / "results" / self.dataset / MODEL_NAME

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def image(self) -> Path:
        return next(self.images.glob("*.nii.gz"))

    @property
    def case(self) -> str:
        return self.image.name.removesuffix("_0000.nii.gz")

    @property
    def prompts(self) -> Path:
        return self.root / "prompts.json"

    def write_prompts(self, **of_class) -> None:
        space = of_class.pop("space", "voxel")
        self.prompts.write_text(json.dumps({"space": space, self.case: {"tumour": of_class}}))

    def write_image(self, array: np.ndarray) -> None:
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), self.image)

    def predict(self, *more: str) -> list[str]:
        given = {"-m": self.model, "-i": self.images, "-o": self.root / "out", "--prompts": self.prompts, "-f": 0}
        given |= dict(zip(more[::2], more[1::2], strict=True))
        return ["predict", *(str(part) for option in given.items() for part in option), "-device", "cpu"]

    def serve(self, *more: str) -> list[str]:
        return ["serve", "-m", str(self.model), "-device", "cpu", "--port", "0", *more]

    def clicks(self, *more: str) -> list[str]:
        return ["clicks", "-d", "900", "-f", "0", "-n", "1", "-device", "cpu", "-o", str(self.root / "out"), *more]


@dataclass(frozen=True)
class Attempt:
    """What was done wrong, in words; how; the exit status; words of the answer."""

    title: str
    make: Callable[[World], list[str]]
    status: int
    words: str


ATTEMPTS: list[Attempt] = []


def attempt(title: str, words: str, status: int = 2):
    """Register a function as an attempt."""

    def register(make: Callable[[World], list[str]]):
        ATTEMPTS.append(Attempt(title, make, status, words))
        return make

    return register
