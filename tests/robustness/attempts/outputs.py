"""Where results go."""

from __future__ import annotations

from .world import attempt


@attempt("an output below a device file", "/dev/null")
def _(world):
    return world.predict("-o", "/dev/null/x")


@attempt("an output that is a file", "out.nii.gz")
def _(world):
    (world.root / "out.nii.gz").write_text("mine")
    return world.predict("-o", str(world.root / "out.nii.gz"))


@attempt("an output folder that exists", "exists already")
def _(world):
    (world.root / "out").mkdir()
    return world.clicks()


@attempt("a page to a folder that is no folder", "prompts.json")
def _(world):
    return ["check", "900", "-o", str(world.prompts / "page.html")]
