"""A network that behaves perfectly: it segments the bright object under the point or under the mask prompt."""

import contextlib
import io

import cc3d
import numpy as np
import torch

from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.networks import PromptableNetwork

PATCH = (16, 16, 16)


class GrowingNetwork(PromptableNetwork):
    """Its features are the image, its state the mask logits."""

    def __init__(self, num_classes=1):
        super().__init__()
        self.patch_size, self.num_classes, self.background = PATCH, num_classes, True
        self.n_auto_stages, self.click_reach = 3, (3.0, 3.0, 3.0)
        self.encoded = 0

    def encode(self, image):
        self.encoded += 1
        return image

    def refine(self, features, prompts, state, classes=None):
        bright = features[0, 0] > 0.5
        seeds = state[0, 0] > 0
        if prompts is not None and prompts.labels.item() == 1:
            seeds[tuple(prompts.points.view(3).tolist())] = True
        objects = cc3d.connected_components(bright.numpy(), connectivity=6)
        chosen = np.setdiff1d(np.unique(objects[seeds.numpy()]), 0)
        return torch.where(torch.from_numpy(np.isin(objects, chosen)), 8.0, -8.0)[None, None]

    def masks(self, state):
        return state

    def resume(self, masks, clicks=None):
        return masks


class CorrectingNetwork(GrowingNetwork):
    """Has initial masks: 4 where the image is 1 for the first class, 2 for the second, and -4 elsewhere. A click adds
    ``8 exp(-distance)`` to them, or takes it away; ``stages`` lists its clicks."""

    has_initial_masks = True

    def __init__(self, num_classes=1):
        super().__init__(num_classes)
        self.stages = []

    def refine(self, features, prompts, state, classes=None):
        if prompts is None:
            return torch.stack([torch.where(features[:, 0] == k + 1, 4.0, -4.0) for k in range(self.num_classes)], 1)
        voxel, label = prompts.points.view(3), prompts.labels.item()
        self.stages.append((tuple(voxel.tolist()), label))
        axes = torch.meshgrid(*(torch.arange(n) for n in self.patch_size), indexing="ij")
        distance = sum((axis - v) ** 2 for axis, v in zip(axes, voxel, strict=True)).sqrt()
        return state + (2 * label - 1) * 8 * torch.exp(-distance)


def growing_predictor(num_classes=1, network=GrowingNetwork, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = PromptedPredictor(device=torch.device("cpu"), allow_tqdm=False, **options)
    predictor.network = network(num_classes)
    predictor.list_of_parameters = [{}]
    return predictor
