"""Weights."""

from __future__ import annotations

import pickle

import torch

from .world import World, attempt


def convert(world: World, *more: str) -> list[str]:
    command = ["convert-weights", str(world.root / "weights.pth"), "--dataset", "900", "-p", "MSAMPlans"]
    return [*command, "-c", "3d_fullres", "-o", str(world.root / "init.pth"), *more]


class Code:
    def __reduce__(self):
        return (print, ("this code ran",))


@attempt("weights that are not there", "weights.pth")
def _(world):
    return convert(world)


@attempt("a pickle with code as weights", "not opened")
def _(world):
    (world.root / "weights.pth").write_bytes(pickle.dumps(Code()))
    return convert(world)


@attempt("a PyTorch file with code as weights", "not opened")
def _(world):
    torch.save({"model_state_dict": Code()}, world.root / "weights.pth")
    return convert(world)


@attempt("weights of another network", "neither a SAM-Med3D nor an M-SAM checkpoint")
def _(world):
    torch.save({"encoder.weight": torch.zeros(3)}, world.root / "weights.pth")
    return convert(world)


@attempt("inspecting a text file", "not opened")
def _(world):
    (world.root / "notes.pth").write_text("todo")
    return ["inspect", str(world.root / "notes.pth")]


@attempt("exporting a model that is not there", "nowhere")
def _(world):
    return ["export", "--merge-lora", "-m", str(world.root / "nowhere"), "-f", "0", "-o", str(world.root / "out")]
