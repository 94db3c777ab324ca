"""Prompt files."""

from __future__ import annotations

import json

import nibabel
import numpy as np

from .world import attempt


@attempt("a prompt file that is not there", "nowhere.json")
def _(world):
    return world.predict("--prompts", str(world.root / "nowhere.json"))


@attempt("a prompt file that is no JSON", "prompts.json")
def _(world):
    world.prompts.write_text("[[1, 2, 3]")
    return world.predict()


@attempt("a click outside the image", "outside", status=1)
def _(world):
    world.write_prompts(points=[[500, 10, 10, 1]])
    return world.predict()


@attempt("a click in mm read as voxels", "points")
def _(world):
    world.write_prompts(points=[[-103.5, 12.25, 40.0, 1]])
    return world.predict()


@attempt("a click in voxels read as mm", "outside", status=1)
def _(world):
    world.write_prompts(points=[[4000, 20, 20, 1]], space="world")
    return world.predict()


@attempt("a click with two coordinates", "points")
def _(world):
    world.write_prompts(points=[[10, 10, 1]])
    return world.predict()


@attempt("a mistyped kind of prompt", "unknown key")
def _(world):
    world.write_prompts(point=[[10, 10, 10, 1]])
    return world.predict()


@attempt("a class without a prompt", "no prompt")
def _(world):
    world.write_prompts()
    return world.predict()


@attempt("a case to draw that the file does not have", "no case")
def _(world):
    files = [str(world.prompts), "-i", str(world.images), "-o", str(world.root / "out")]
    return ["prompts", "show", *files, "--cases", "nope"]


@attempt("a box whose corners are swapped", "box")
def _(world):
    world.write_prompts(boxes=[[10, 10, 10, 2, 2, 2]])
    return world.predict()


@attempt("a class that the model does not know", "lesion", status=1)
def _(world):
    world.prompts.write_text(json.dumps({"space": "voxel", world.case: {"lesion": {"points": [[4, 4, 4, 1]]}}}))
    return world.predict()


@attempt("prompts for another folder's cases", "None of the 1 cases")
def _(world):
    world.prompts.write_text(json.dumps({"space": "voxel", "case_7": {"tumour": {"points": [[4, 4, 4, 1]]}}}))
    return world.predict()


@attempt("a mask prompt that is empty", "empty", status=1)
def _(world):
    image = nibabel.load(world.image)
    nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), world.root / "mask.nii.gz")
    world.write_prompts(mask=str(world.root / "mask.nii.gz"))
    return world.predict()


@attempt("a mask prompt of another image", "another case", status=1)
def _(world):
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 6, 7), np.uint8), np.eye(4)), world.root / "mask.nii.gz")
    world.write_prompts(mask=str(world.root / "mask.nii.gz"))
    return world.predict()
