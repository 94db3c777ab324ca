"""Do the networks compute on this device what they should? Errors relative to the spread of the values, in float32,
bfloat16 and float16.

The released geometry is held against the published code's outputs where they are at hand (``MSAM_NN_SHARED``);
everything else against our own networks in float64 on the CPU.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from standard_networks import A, B, promptable
from torch import Tensor

from gpu_parts.setup import Setup
from msam_nn.networks import MSAM, MSAMConfig, Points, PromptableNetwork
from msam_nn.networks.weights.sam_med3d import load_reference_checkpoint

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.networks.golden import CLICKS, find_golden, golden_tensor, normal, relative_error  # noqa: E402

OWN = "our CPU float64"


def run(setup: Setup) -> Iterator[dict[str, Any]]:
    """A row per network and output."""
    setup.without_tf32()
    golden = None if setup.dry_run else find_golden()
    if golden is not None:
        yield from released_rows(setup, golden)
    for name in (A, B):
        network = stirred(promptable(name, min(setup.patch, 64)))
        image = normal(7, (1, 1, *network.patch_size))
        expected = answers(copy.deepcopy(network).double(), image.double())
        yield from rows(setup, name, OWN, network, image, expected)


def released_rows(setup: Setup, golden: Path) -> Iterator[dict[str, Any]]:
    """The released geometry with weights made from their names."""
    model = MSAM(MSAMConfig.sam_med3d(lora_rank=0)).eval()
    names = golden_names(golden)
    load_reference_checkpoint(model, {name: golden_tensor(name, shape) for name, shape in names.items()})
    with np.load(golden / "msam_reference.npz") as file:
        expected = {"encoder": torch.from_numpy(file["encoder_out"])}
        expected |= {f"mask of stage {i}": torch.from_numpy(file[f"msam_low_res_{i}"]) for i in range(len(CLICKS))}
    image = normal(7, (1, 1, 128, 128, 128))
    yield from rows(setup, "released geometry", "the published code", model, image, expected, released_answers)


def golden_names(golden: Path) -> dict[str, list[int]]:
    """Every released tensor and its shape."""
    names = json.loads((golden / "state_dict_names.json").read_text(encoding="utf-8"))
    return {**names["sam"], **names["mea"]}


def stirred(network: PromptableNetwork) -> PromptableNetwork:
    """The network with what starts at zero made random, so that every part of it shows in the output."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def answers(network: PromptableNetwork, image: Tensor) -> dict[str, Tensor]:
    """Mask logits before and after a click."""
    points = torch.tensor([s // 3 for s in network.patch_size], device=image.device).expand(1, 1, 1, 3)
    click = Points(points, torch.ones(1, 1, 1, dtype=torch.long, device=image.device))
    features = network.encode(image)
    automatic = network.refine(features, None, None)
    clicked = network.refine(features, click, automatic)
    return {"automatic mask": network.masks(automatic), "mask after a click": network.masks(clicked)}


def released_answers(model: MSAM, image: Tensor) -> dict[str, Tensor]:
    """Every third channel of the encoder, and the low-resolution masks of three stages."""
    features, masks = model.encode(image), None
    found = {"encoder": features.embedding[:, ::3]}
    for stage, (point, label) in enumerate(CLICKS):
        prompts = (torch.tensor(values, device=image.device)[None, None] for values in ([point], [label]))
        masks, _ = model.decode(features, *prompts, masks)
        found[f"mask of stage {stage}"] = masks
    return found


@torch.no_grad()
def rows(
    setup: Setup, name: str, reference: str, network: PromptableNetwork, image: Tensor, expected: dict, ask=answers
) -> Iterator[dict[str, Any]]:
    """Errors of every output in each precision; float16 is what nnU-Net and our trainers use on CUDA."""
    network, image = network.to(setup.device), image.to(setup.device)
    found = {}
    halves = {"bfloat16": setup.autocast(), "float16": setup.autocast(torch.float16)}
    for precision, context in {"float32": nullcontext(), **halves}.items():
        with context:
            found[precision] = ask(network, image)
    for what, truth in expected.items():
        level = truth.double().mean()  # M-SAM's logits lie around their prior, which every precision gets right
        values = {precision: outputs[what].cpu().double() - level for precision, outputs in found.items()}
        errors = {p: f"{relative_error(value, truth - level):.1e}" for p, value in values.items()}
        yield {"network": name, "output": what, "against": reference, **errors}
