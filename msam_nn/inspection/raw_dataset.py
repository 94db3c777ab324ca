"""What nnU-Net's raw folder of a data set declares: channels, classes, cases and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.paths import nnUNet_raw
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.nnunet_folders import Case, channel_names, labelled_cases


@dataclass(frozen=True)
class RawDataset:
    """A raw data set.

    Arguments:
        classes: name -> its label values, several for a region; neither background nor the ignore label.
        declared_cases: what ``dataset.json`` says of how many there are, whatever that is.
    """

    name: str
    channel_names: tuple[str, ...]
    classes: dict[str, tuple[int, ...]]
    ignore_label: int | None
    cases: dict[str, Case]
    declared_cases: object
    reader: type[BaseReaderWriter]

    @property
    def label_values(self) -> set[int]:
        """Every declared value: background, classes and the ignore label."""
        ignored = set() if self.ignore_label is None else {self.ignore_label}
        return {0, *ignored}.union(*self.classes.values())


def open_raw_dataset(name: str, dataset_json: dict) -> RawDataset:
    """Read nothing but file names, and the header of an image.

    Raises:
        UserError: if ``dataset.json`` is incomplete or contradicts itself, or there is no training case.
        UnsupportedError: for 2D images.
    """
    declaration = Path(nnUNet_raw, name, "dataset.json")
    try:
        channels = channel_names(dataset_json)
        labels = dataset_json["labels"]
        manager = LabelManager(labels, dataset_json.get("regions_class_order"))
        cases = labelled_cases(name)
    except KeyError as error:
        raise UserError(f"{declaration} lacks the entry {error}: add it as nnU-Net's format asks.") from error
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: nnU-Net expects the training images there.") from error
    except UserError:
        raise
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"{declaration} declares labels that nnU-Net refuses: {error}") from error
    if not cases:
        raise UserError(f"{declaration.parent / 'imagesTr'} has no images CASE_0000{dataset_json['file_ending']}.")
    values = {label: tuple(int(v) for v in np.atleast_1d(v)) for label, v in labels.items() if label != "ignore"}
    example = str(next(iter(cases.values())).images[0])
    if _is_2d(example):
        raise UnsupportedError(f"msam check looks at volumes and {example} is 2D: 2D data sets cannot be checked.")
    return RawDataset(
        name,
        tuple(channels),
        {label: v for label, v in values.items() if set(v) != {0}},
        manager.ignore_label,
        dict(sorted(cases.items())),
        dataset_json.get("numTraining"),
        determine_reader_writer_from_dataset_json(dataset_json, example, verbose=False),
    )


def _is_2d(file: str) -> bool:
    """By its header; what SimpleITK cannot read is not, and whether nnU-Net's reader can is asked later."""
    header = sitk.ImageFileReader()
    header.SetFileName(file)
    try:
        header.ReadImageInformation()
    except RuntimeError:
        return False
    return header.GetDimension() == 2
