"""Predict a folder of cases with prompts from a file, and go on where one fails."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json, save_pickle
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder
from torch import Tensor
from tqdm import tqdm

from msam_nn.errors import UserError
from msam_nn.image_files import insist_on_sound_images
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.placement import PlacedPrompts, class_names, place
from msam_nn.inference.promises import Promises
from msam_nn.inference.prompt_file import ClassPrompts, PromptFile
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.inference.prompting.image import MAX_WINDOWS, PromptedImage
from msam_nn.nnunet_folders import channel_names


@dataclass
class PromptedBatch:
    """Whole cases, from files to files.

    Arguments:
        predictor: with a model loaded.
        prompts: cases in the file that are not in the folder are failures.
        automatic: prompts correct the automatic prediction; otherwise they start from an empty mask.
        save_probabilities: as ``nnUNetv2_predict --save_probabilities``.
        resample_masks: take mask prompts on other grids than their image's.
        previous_stage: folder of segmentations, for cascades.
    """

    predictor: PromptedPredictor
    prompts: PromptFile
    automatic: bool = False
    save_probabilities: bool = False
    resample_masks: bool = False
    previous_stage: Path | None = None
    progress: bool = True

    def run(self, images: Path, output: Path) -> dict[str, str]:
        """Predict every case of a folder that has prompts; with ``automatic`` also those that have none.

        Returns:
            The cases that failed, and why.

        Raises:
            UserError: if there is nothing to predict at all.
        """
        cases = image_cases(images, self.predictor.dataset_json["file_ending"])
        previous = self.predictor.configuration_manager.previous_stage_name
        if (previous is None) != (self.previous_stage is None):
            needed = "needs" if previous else "takes no"
            raise UserError(f"This configuration {needed} predictions of a previous stage ({previous}).")
        failed = {case: f"is not in {images}" for case in self.prompts.cases if case not in cases}
        chosen = {case: files for case, files in cases.items() if self.automatic or case in self.prompts.cases}
        left_out = cases.keys() - chosen.keys()
        if not chosen:
            raise UserError(
                f"None of the {len(cases)} cases in {images} has prompts: the file has {some_of(self.prompts.cases)}, "
                f"the folder {some_of(cases)}. (--automatic predicts cases without prompts, too.)"
            )
        if left_out:
            print(
                f"Without prompts, and so left out: {len(left_out)} of {len(cases)} cases, {some_of(left_out)} "
                f"(--automatic predicts them, too)."
            )
        output.mkdir(parents=True, exist_ok=True)
        save_json(self.predictor.dataset_json, str(output / "dataset.json"), sort_keys=False)
        save_json(self.predictor.plans_manager.plans, str(output / "plans.json"), sort_keys=False)
        for case, files in tqdm(chosen.items(), desc="predicting", disable=not self.progress):
            try:
                for remark in self.predict_case(case, files, output):
                    tqdm.write(f"{case}: {remark}")
            except UserError as error:
                failed[case] = str(error)
            except Exception as error:
                reason = str(error).strip().splitlines() or [""]
                failed[case] = f"{type(error).__name__}: {reason[-1]}"
            if case in failed:
                tqdm.write(f"{case}: failed")
        return failed

    def predict_case(self, case: str, files: list[Path], output: Path) -> list[str]:
        """Predict one case and write it; returns remarks on its prompts.

        Raises:
            UserError: for prompts that do not fit the case.
        """
        predictor = self.predictor
        data, properties = self._preprocess(case, files)
        geometry = ImageGeometry.from_properties(
            properties, predictor.plans_manager.transpose_forward, tuple(data.shape[1:])
        )
        names = class_names(predictor.dataset_json, predictor.label_manager)
        given: dict[str, ClassPrompts] = self.prompts.cases.get(case, {})
        placed = place(given, self.prompts.space, names, geometry, files[0], self.resample_masks)
        promises = Promises([click for p in placed for click in p.promises], predictor.label_manager)
        image = predictor.open_image(data)
        try:
            if self.automatic:
                image.start_from(predictor.predict_masks(image))
            self._follow(image, placed)
            remarks = [
                f"An object of class {names[index][0]} goes on beyond the {MAX_WINDOWS} windows that one prompt may "
                f"reach, at voxel {geometry.network_to_file(voxel)} (z, y, x): click there to continue it."
                for index, voxel in image.unfinished
            ]
            return remarks + self._export(case, image.logits(), properties, geometry, promises, output)
        finally:
            image.forget_features()

    @staticmethod
    def _follow(image: PromptedImage, placed: Sequence[PlacedPrompts]) -> None:
        """All masks first, then all boxes, then all points."""
        for prompts in placed:
            if prompts.mask is not None:
                image.set_mask(prompts.class_index, prompts.mask)
        for prompts in placed:
            for box in prompts.boxes:
                image.add_box(prompts.class_index, box.box, box.through)
        image.add_points([click for prompts in placed for click in prompts.clicks])

    def _preprocess(self, case: str, files: list[Path]) -> tuple[Tensor, dict]:
        predictor = self.predictor
        insist_on_sound_images(files, len(channel_names(predictor.dataset_json)))
        preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
        previous = None
        if self.previous_stage is not None:
            previous = self.previous_stage / (case + predictor.dataset_json["file_ending"])
            if not previous.is_file():
                raise UserError(f"The previous stage's prediction {previous} is missing.")
        data, seg, properties = preprocessor.run_case(
            [str(f) for f in files],
            None if previous is None else str(previous),
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.dataset_json,
        )
        if previous is not None:
            one_hot = convert_labelmap_to_one_hot(seg[0], predictor.label_manager.foreground_labels, data.dtype)
            data = np.vstack((data, one_hot))
        return torch.from_numpy(np.ascontiguousarray(data)), properties

    def _export(
        self,
        case: str,
        logits: Tensor,
        properties: dict,
        geometry: ImageGeometry,
        promises: Promises,
        output: Path,
    ) -> list[str]:
        """Write the case on its image's grid as nnU-Net does, beside the target first."""
        predictor = self.predictor
        exported = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.label_manager,
            properties,
            return_probabilities=self.save_probabilities,
            num_threads_torch=torch.get_num_threads(),
        )
        segmentation, probabilities = exported if self.save_probabilities else (exported, None)
        remarks = promises.keep(segmentation, geometry, probabilities)
        partial = Path(tempfile.mkdtemp(prefix=f".{case}.", dir=output))
        try:
            if probabilities is not None:
                np.savez_compressed(partial / f"{case}.npz", probabilities=probabilities)
                save_pickle(properties, str(partial / f"{case}.pkl"))
            writer = predictor.plans_manager.image_reader_writer_class()
            writer.write_seg(segmentation, str(partial / (case + predictor.dataset_json["file_ending"])), properties)
            for file in partial.iterdir():
                os.replace(file, output / file.name)
        finally:
            shutil.rmtree(partial)
        return remarks


def image_cases(folder: Path, file_ending: str) -> dict[str, list[Path]]:
    """Case to channel files of a folder in nnU-Net's layout.

    Raises:
        UserError: if there are none.
    """
    lists = []
    if folder.is_dir():
        lists = create_lists_from_splitted_dataset_folder(str(folder), file_ending, num_processes=1)
    lists = [files for files in lists if files]  # none for a name without _0000
    if not lists:
        names = sorted(file.name for file in folder.glob("[!.]*.*"))
        name, mend = next((name for name in names if name.endswith(file_ending)), ""), ""
        if name:
            channel = f"{name.removesuffix(file_ending)}_0000{file_ending}"
            mend = f": rename {name} to {channel}, and the others likewise"
        elif names:
            mend = f": there is {names[0]}, but images have to end in {file_ending}"
        raise UserError(f"{folder} holds no images like case_0000{file_ending}{mend}.")
    return {Path(files[0]).name[: -len(file_ending) - 5]: [Path(f) for f in files] for files in lists}


def some_of(cases: Collection[str]) -> str:
    """Up to five names, to be quoted."""
    names = sorted(cases)
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "") if names else "no cases"
