"""One case as the simulated user sees it, on the network's grid, and as it is measured, on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from torch import Tensor

from msam_nn.image_files import insist_on_sound_images
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.output_grid import OutputGrid
from msam_nn.inference.placement import class_names, read_labels
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.metrics.scores import class_masks, dice, iou, surface_metrics
from msam_nn.nnunet_folders import channel_names


@dataclass(frozen=True)
class ClickCase:
    """A preprocessed image with its truth.

    image: ``(C, D, H, W)``, preprocessed.
    targets: per class or region the true mask ``(D, H, W)`` on the grid of ``image``, bool.
    valid: ``(D, H, W)``, False where the truth is ignored.
    truth: label map on the original grid, in the order in which nnU-Net's reader returns it.
    classes: per class its name and its label value, or values of a region.
    properties: nnU-Net's, to bring a prediction back to the original grid.
    image_file: a channel of the image, whose grid that is.
    """

    name: str
    image: Tensor
    targets: list[np.ndarray]
    valid: np.ndarray
    truth: np.ndarray
    classes: list[tuple[str, int | Sequence[int]]]
    properties: dict[str, Any]
    image_file: Path

    @classmethod
    def load(cls, predictor: PromptedPredictor, name: str, image_files: Sequence[Path], label_file: Path) -> ClickCase:
        """Read and preprocess with the predictor's plans."""
        insist_on_sound_images(image_files, len(channel_names(predictor.dataset_json)))
        plans, configuration = predictor.plans_manager, predictor.configuration_manager
        label_manager = predictor.label_manager
        data, seg, properties = configuration.preprocessor_class(verbose=False).run_case(
            [str(f) for f in image_files], str(label_file), plans, configuration, predictor.dataset_json
        )
        truth, _ = plans.image_reader_writer_class().read_seg(str(label_file))
        members = label_manager.foreground_regions if label_manager.has_regions else label_manager.foreground_labels
        names = [called[0] for called in class_names(predictor.dataset_json, label_manager)]
        return cls(
            name=name,
            image=torch.from_numpy(np.ascontiguousarray(data)),
            targets=[np.isin(seg[0], values) for values in members],
            valid=seg[0] != label_manager.ignore_label,
            truth=truth[0],
            classes=list(zip(names, members, strict=True)),
            properties=properties,
            image_file=Path(image_files[0]),
        )

    def given_masks(self, predictor: PromptedPredictor, folder: Path) -> list[Tensor]:
        """The label map in a folder that is named like the case, as shares of every class on the grid of ``image``.

        Raises:
            UserError: if there is none, or it has another grid than the case's image.
        """
        file = folder / (self.name + predictor.dataset_json["file_ending"])
        labels = read_labels(file, self.image_file)
        transpose = predictor.plans_manager.transpose_forward
        geometry = ImageGeometry.from_properties(self.properties, transpose, tuple(self.image.shape[1:]))
        grid = OutputGrid.of(geometry)
        return [grid.shares(np.isin(labels, values)) for _, values in self.classes]

    def segmentation(self, predictor: PromptedPredictor, logits: Tensor) -> np.ndarray:
        """Label map ``(z, y, x)`` on the original grid."""
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits.clone(),
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.label_manager,
            self.properties,
        )

    def measure(self, predictor: PromptedPredictor, logits: Tensor, tolerance_mm: float) -> list[dict[str, Any]]:
        """Scores of every class on the original grid, by :func:`mask_scores`."""
        prediction = self.segmentation(predictor, logits)
        scores = []
        for name, values in self.classes:
            masks = class_masks(prediction, self.truth, values, predictor.label_manager.ignore_label)
            scores.append({"label": name, **mask_scores(*masks, self.properties["spacing"], tolerance_mm)})
        return scores


def mask_scores(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance_mm: float
) -> dict[str, float]:
    """``dice``, ``iou``, ``nsd``, ``hd95`` (mm) and ``true_voxels`` of two bool masks; see the module of metrics."""
    nsd, hd95 = surface_metrics(prediction, truth, spacing, tolerance_mm)
    overlap = {"dice": dice(prediction, truth), "iou": iou(prediction, truth)}
    return {**overlap, "nsd": nsd, "hd95": hd95, "true_voxels": int(truth.sum())}


def click_generator(case: str, seed: int) -> torch.Generator:
    """For clicks that depend on case and seed only, whatever else is evaluated."""
    return torch.Generator().manual_seed(crc32(f"{case} {seed}".encode()))
