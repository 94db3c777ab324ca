"""The model that is served: its weights once, for all sessions."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from msam_nn.errors import UserError
from msam_nn.inference.placement import class_index, class_names
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.inference.prompting.image import PromptedImage
from msam_nn.nnunet_folders import channel_names


@dataclass(frozen=True)
class TargetClass:
    """A class that can be segmented.

    label: what its voxels get in a label map. members: all labels that belong to it (several, where regions overlap).
    """

    index: int
    name: str
    label: int
    members: tuple[int, ...]


class ServedModel:
    """A loaded model, and what sessions ask of it.

    Arguments:
        predictor: with its weights loaded.
        name: what to call it.

    Attributes:
        give_way: called between the windows of an automatic prediction.
    """

    def __init__(self, predictor: PromptedPredictor, name: str) -> None:
        self.predictor = predictor
        self.name = name
        self.give_way: Callable[[], None] = lambda: None
        manager = predictor.label_manager
        if manager.has_regions:
            labels = [int(label) for label in manager.regions_class_order]
            regions = [set(r) if isinstance(r, tuple | list) else {r} for r in manager.foreground_regions]
        else:
            labels = [int(label) for label in manager.foreground_labels]
            regions = [{label} for label in labels]
        self._names = class_names(predictor.dataset_json, manager)
        self.classes = [
            TargetClass(index, called[0], label, (label, *sorted(region - {label})))
            for index, (called, label, region) in enumerate(zip(self._names, labels, regions, strict=True))
        ]
        predictor.networks()

    @classmethod
    def load(
        cls, folder: Path, folds: Sequence[str] = ("0",), checkpoint: str = "checkpoint_final.pth", device: str = "cpu"
    ) -> ServedModel:
        """From a folder of nnU-Net results.

        Raises:
            UserError: if it holds a 2D model, or the second stage of a cascade.
        """
        on_device = torch.device(device).type == "cuda"
        predictor = PromptedPredictor(
            device=torch.device(device), use_mirroring=False, perform_everything_on_device=on_device, allow_tqdm=False
        )
        with contextlib.redirect_stdout(io.StringIO()):
            predictor.initialize_from_trained_model_folder(str(folder), tuple(folds), checkpoint)
        if predictor.configuration_manager.previous_stage_name is not None:
            raise UserError(f"{folder} needs the predictions of a previous stage, which viewers do not send.")
        return cls(predictor, f"{folder.parent.name}/{folder.name}")

    @property
    def channel_names(self) -> list[str]:
        """In the order of the channels."""
        return channel_names(self.predictor.dataset_json)

    @property
    def refines_without_clicks(self) -> bool:
        return not self.predictor.promptable.has_initial_masks

    @property
    def patch_size(self) -> list[int]:
        return [int(n) for n in self.predictor.promptable.patch_size]

    def class_index(self, name: str) -> int:
        """The class of that name, or with that label number.

        Raises:
            UserError: if there is none.
        """
        return class_index(name, self._names)

    @property
    def spacing(self) -> list[float]:
        """In mm and a viewer's order of axes: what the network was trained at, for images that come without one."""
        order = self.predictor.plans_manager.transpose_backward
        return [float(self.predictor.configuration_manager.spacing[axis]) for axis in order]

    def network_shape(self, shape: Sequence[int], spacing: Sequence[float]) -> list[int]:
        """Voxels, before any crop, of an image of a shape and spacing in a viewer's order of axes."""
        return [round(n * s / t) for n, s, t in zip(shape, spacing, self.spacing, strict=True)]

    def padded_voxels(self, network_shape: Sequence[int]) -> int:
        """How many there are when the image is padded to the size of a window."""
        order = self.predictor.plans_manager.transpose_backward
        return math.prod(max(n, self.patch_size[axis]) for n, axis in zip(network_shape, order, strict=True))

    def open_image(self, data: np.ndarray, properties: dict) -> tuple[PromptedImage, dict]:
        """Preprocess ``(C, z, y, x)`` as the plans say; also returns nnU-Net's properties, now complete."""
        predictor = self.predictor
        preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
        plans = (predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json)
        data, _, properties = preprocessor.run_case_npy(data, None, properties, *plans)
        return predictor.open_image(torch.from_numpy(np.ascontiguousarray(data))), properties
