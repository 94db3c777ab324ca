"""Serving."""

from __future__ import annotations

import json
import socket

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from .world import attempt


@attempt("serving a folder that is no model", "no plans.json")
def _(world):
    return ["serve", "-m", str(world.images), "-device", "cpu"]


@attempt("serving a fold that was not trained", "fold_4")
def _(world):
    return world.serve("-f", "0", "4")


@attempt("serving a 2D model", "clicks are 3D")
def _(world):
    file = world.model / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(file, weights_only=False)
    plans = json.loads((world.model / "plans.json").read_text(encoding="utf-8"))
    configuration, n_stages = plans["configurations"]["3d_fullres"], 2
    configuration |= {"patch_size": [32, 32], "spacing": [1.0, 1.0]}
    configuration["architecture"] = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": n_stages,
            "features_per_stage": [4, 8],
            "conv_op": "torch.nn.modules.conv.Conv2d",
            "kernel_sizes": [[3, 3]] * 2,
            "strides": [[1, 1], [2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
        },
        "_kw_requires_import": ["conv_op"],
    }
    (world.model / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    network = PlainConvUNet(1, n_stages, [4, 8], torch.nn.Conv2d, 3, [1, 2], 1, 3, 1, conv_bias=True)
    checkpoint.update(trainer_name="nnUNetTrainer", network_weights=network.state_dict())
    torch.save(checkpoint, file)
    return world.serve()


@attempt("serving a class that the model does not know", "no class lesion")
def _(world):
    return world.serve("--label", "lesion")


@attempt("serving others without a key", "--api-key")
def _(world):
    world.setenv("NN_INTERACTIVE_API_KEY", "")
    return world.serve("--host", "0.0.0.0")


@attempt("serving on a port that is taken", "choose another --port")
def _(world):
    world.taken = socket.create_server(("127.0.0.1", 0))
    return [*world.serve()[:-1], str(world.taken.getsockname()[1])]


@attempt("serving on a port that does not exist", "to 65535")
def _(world):
    return [*world.serve()[:-1], "99999"]


@attempt("serving nobody", "--max-sessions")
def _(world):
    return world.serve("--max-sessions", "0")


@attempt("serving images of no size", "--max-upload")
def _(world):
    return world.serve("--max-upload", "-1")


@attempt("saving served masks to a file", "prompts.json")
def _(world):
    return world.serve("--save-to", str(world.prompts))
