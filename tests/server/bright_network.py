"""A network whose answers are known beforehand, as a served model: it segments bright objects."""

import contextlib
import io

import cc3d
import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from msam_nn import nnunet_hook
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.networks import PromptableNetwork
from msam_nn.server.model import ServedModel

nnunet_hook.activate()
PATCH = (16, 16, 16)


class BrightNetwork(PromptableNetwork):
    """Without prompts all bright voxels (above 0.5) belong to the first class. A point or the mask prompt selects the
    bright objects it touches, a negative point takes the object under it away. Later classes are surer of theirs."""

    def __init__(self, num_classes=1, background=True):
        super().__init__()
        self.patch_size, self.num_classes, self.background = PATCH, num_classes, background
        self.n_auto_stages, self.click_reach = 1, (0.2, 0.2, 0.2)
        self.encoded = 0
        self.where = nn.Parameter(torch.zeros(1))

    def encode(self, image):
        self.encoded += 1
        return image

    def refine(self, features, prompts, state, classes=None):
        bright = features[0, 0].cpu().numpy() > 0.5
        if state is None:
            masks = torch.full((1, len(classes), *bright.shape), -8.0)
            masks[0, 0][torch.from_numpy(bright)] = 8.0
            return masks
        objects = cc3d.connected_components(bright, connectivity=6)
        chosen = set(np.unique(objects[state[0, 0].numpy() > 0]).tolist()) - {0}
        if prompts is not None:
            under = int(objects[tuple(prompts.points.view(3).tolist())])
            (chosen.add if prompts.labels.item() == 1 else chosen.discard)(under)
        found = torch.from_numpy(np.isin(objects, sorted(chosen - {0})))
        return torch.where(found, 8.0 + classes.item(), -8.0)[None, None]

    def masks(self, state):
        return state

    def resume(self, masks, clicks=None):
        return masks


def make_model(labels=None, spacing=(1, 1, 1), transpose=(0, 1, 2), reader="SimpleITKIO", regions_class_order=None):
    """A served model; ``spacing`` is the network's, in its own order of axes."""
    labels = labels or {"background": 0, "organ": 1, "tumour": 2}
    dataset_json = {"channel_names": {"0": "noNorm"}, "labels": labels, "file_ending": ".nii.gz"}
    if regions_class_order is not None:
        dataset_json["regions_class_order"] = regions_class_order
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "preprocessor_name": "DefaultPreprocessor",
        "spacing": list(spacing),
        "normalization_schemes": ["NoNormalization"],
        "use_mask_for_norm": [False],
        "batch_size": 2,
        "patch_size": list(PATCH),
        "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    for what in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{what}_kwargs"] = {**resampling, "is_seg": what == "seg"}
    plans = PlansManager(
        {
            "plans_name": "BrightPlans",
            "dataset_name": "Dataset904_Bright",
            "image_reader_writer": reader,
            "transpose_forward": list(transpose),
            "transpose_backward": np.argsort(transpose).tolist(),
            "configurations": {"3d_fullres": configuration},
            "foreground_intensity_properties_per_channel": {"0": {}},
            "label_manager": "LabelManager",
        }
    )
    network = BrightNetwork(len(labels) - 1, background=regions_class_order is None)
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = PromptedPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
    configuration_manager = plans.get_configuration("3d_fullres")
    predictor.manual_initialization(
        network, plans, configuration_manager, [network.state_dict()], dataset_json, "MSAMTrainer", None
    )
    return ServedModel(predictor, "bright objects")


def bright(shape, *boxes):
    """Background 0.1, so that nnU-Net crops nothing away; 1 in the boxes."""
    image = np.full(shape, 0.1, np.float32)
    for box in boxes:
        image[tuple(slice(*bounds) for bounds in box)] = 1
    return image


def inside(shape, *boxes):
    """Bool: which voxels lie in one of the boxes."""
    return bright(shape, *boxes) > 0.5
