"""Images."""

from __future__ import annotations

import shutil

import numpy as np

from .world import attempt


@attempt("a folder without images", "holds no images")
def _(world):
    return world.predict("-i", str(world.root / "raw"))


@attempt("images without a channel in their names", "rename phantom_000.nii.gz to phantom_000_0000.nii.gz")
def _(world):
    world.image.rename(world.images / f"{world.case}.nii.gz")
    return world.predict()


@attempt("a truncated .nii.gz", "copy or export it again", status=1)
def _(world):
    content = world.image.read_bytes()
    world.image.write_bytes(content[: len(content) // 2])
    return world.predict()


@attempt("a text file named .nii.gz", "no NIfTI", status=1)
def _(world):
    world.image.write_text("see attachment")
    return world.predict()


@attempt("an image of NaN", "NaN or infinite", status=1)
def _(world):
    world.write_image(np.full((20, 20, 20), np.nan, np.float32))
    return world.predict()


@attempt("a 4D image", "no 3D image", status=1)
def _(world):
    world.write_image(np.zeros((20, 20, 20, 3), np.float32))
    return world.predict()


@attempt("a second channel that the model does not take", "2 channel(s) and the model takes 1", status=1)
def _(world):
    shutil.copy(world.image, world.images / f"{world.case}_0001.nii.gz")
    return world.predict()


@attempt("a truncated image among the validation cases", "copy or export it again")
def _(world):
    for file in (world.raw / "imagesTr").iterdir():
        file.write_bytes(file.read_bytes()[:3000])
    return world.clicks()


@attempt("a data set without labels", "labelsTr")
def _(world):
    shutil.rmtree(world.raw / "labelsTr")
    return ["check", "900", "-o", str(world.root / "out.html")]


@attempt("a dataset.json that is no JSON", "dataset.json")
def _(world):
    (world.raw / "dataset.json").write_text("{")
    return ["check", "900", "-o", str(world.root / "out.html")]
