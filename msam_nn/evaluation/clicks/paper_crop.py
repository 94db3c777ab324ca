"""The protocol of the M-SAM paper: clicks on a crop around the object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from msam_nn.evaluation.clicks.case import ClickCase, click_generator, mask_scores
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.metrics.scores import TOLERANCE_MM
from msam_nn.networks.promptable import Points
from msam_nn.prompts import SimulatedClicks


@dataclass(frozen=True)
class PaperCrop:
    """The protocol of the M-SAM paper (arXiv 2403.05912, sections 3.3 and 4.1) and of SAM-Med3D.

    A crop of the patch size, centred on the bounding box of the true class and padded with zeros, on the network's
    grid. From an empty mask, each stage gets one click drawn uniformly from the error. What the clicks alone say is not
    enforced. The crop gives away where the object is, and cuts off what does not fit: the numbers are not comparable
    with whole-volume figures. A class that a case does not have is left out.
    """

    name: ClassVar[str] = "paper crop, not comparable with whole-volume figures"
    n_stages: int = 10
    seeds: Sequence[int] = (0,)
    tolerance_mm: float = TOLERANCE_MM

    @torch.inference_mode()
    def __call__(self, predictor: PromptedPredictor, case: ClickCase) -> Iterator[dict[str, Any]]:
        """Rows like :meth:`WholeVolume.__call__`; the encoder's time is not part of ``seconds``."""
        network, device = predictor.promptable, predictor.device
        network.load_state_dict(predictor.list_of_parameters[0])
        network.to(device).eval()
        for index, (label, _) in enumerate(case.classes):
            if not (case.targets[index] & case.valid).any():
                continue
            image, target, valid = centred_crop(case, index, network.patch_size)
            for seed in self.seeds:
                generator = click_generator(f"{case.name} {label}", seed)
                user = SimulatedClicks(target[None, None], valid=valid[None, None], generator=generator)
                clicks = _Stopwatch(user, device)
                classes = torch.tensor([index], device=device)
                stages = network(image[None].to(device), clicks, self.n_stages, classes)
                clicks.stop()
                for number, (logits, took) in enumerate(zip(stages, clicks.seconds, strict=True), 1):
                    masks = ((logits[0, -1].cpu() > 0) & valid).numpy(), (target & valid).numpy()
                    scores = mask_scores(*masks, predictor.configuration_manager.spacing, self.tolerance_mm)
                    run = {"strategy": "uniform", "seed": seed, "clicks": number, "seconds": took}
                    yield {"label": label, **run, **scores}


def centred_crop(case: ClickCase, index: int, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Image ``(C, *size)``, mask and valid voxels ``size``, around the bounding box of a class that is there."""
    target = case.targets[index]
    voxels = np.nonzero(target & case.valid)
    inside, outside = [], []
    for axis, extent in zip(voxels, size, strict=True):
        start = (int(axis.min()) + int(axis.max()) + 1 - extent) // 2
        stop = start + extent
        n = target.shape[len(inside)]
        inside.append(slice(max(start, 0), min(stop, n)))
        outside.append((max(-start, 0), max(stop - n, 0)))
    image = np.pad(case.image.numpy()[(slice(None), *inside)], [(0, 0), *outside])
    mask, valid = (np.pad(array[tuple(inside)], outside) for array in (target, case.valid))
    return torch.from_numpy(image), torch.from_numpy(mask), torch.from_numpy(valid)


class _Stopwatch:
    """A user on the CPU, who clicks alike whatever the device, and how long the network takes from one call to the
    next."""

    def __init__(self, source: SimulatedClicks, device: torch.device) -> None:
        self.source, self.device = source, device
        self.seconds: list[float] = []
        self._began: float | None = None

    def __call__(self, stage: int, masks: Tensor | None) -> Points:
        self.stop()
        points = self.source(stage, None if masks is None else masks.cpu())
        points = Points(*(part.to(self.device) for part in points))
        self._began = perf_counter()
        return points

    def stop(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        if self._began is not None:
            self.seconds.append(perf_counter() - self._began)
