"""Commands and options."""

from __future__ import annotations

from .world import attempt


@attempt("a command that does not exist", "invalid choice")
def _(world):
    return ["predcit"]


@attempt("an option forgotten", "required: --prompts")
def _(world):
    return ["predict", "-i", "images", "-o", "out"]


@attempt("model named twice, with -m and -d", "either with -d")
def _(world):
    return world.predict("-d", "900")


@attempt("a device that is not there", "no CUDA GPU here: add -device cpu")
def _(world):
    return [*world.predict()[:-1], "cuda"]


@attempt("a number of clicks below one", "-n takes a number of clicks from 1 on")
def _(world):
    return world.clicks("-n", "0")


@attempt("clicks on the validation cases of fold all", "no validation cases")
def _(world):
    return world.clicks("-f", "all")


@attempt("a tolerance that is no distance", "--tolerance")
def _(world):
    return world.clicks("--tolerance", "-1")
