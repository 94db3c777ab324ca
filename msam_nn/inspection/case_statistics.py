"""Measure the cases of a raw data set: geometry, intensities, labels and lesions, a case at a time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from math import prod
from pathlib import Path
from zlib import crc32

import cc3d
import nibabel
import numpy as np

from msam_nn.inspection.raw_dataset import RawDataset
from msam_nn.metrics.scores import LESION_CONNECTIVITY
from msam_nn.workers import map_in_processes

SAMPLES = 5000
"""Voxels drawn per case, and per class of a case, for the distribution of intensities."""

COARSE_EDGE = 64
GEOMETRY_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Lesions:
    """The connected components (26 neighbours) of one class in one case.

    Arguments:
        volumes_mm3: ``(n,)``.
        extents_mm: ``(n, axes)``, edges of the bounding boxes in array order.
    """

    volumes_mm3: np.ndarray
    extents_mm: np.ndarray


@dataclass(frozen=True)
class CaseStatistics:
    """What is known of a case.

    Arguments:
        shape, spacing: of the image, in array order, mm.
        channels: how many the image has.
        hashes: ``(channels,)``; equal for channels with equal voxels, None for a constant channel.
        intensities: ``(channels, n)``, drawn from the whole image.
        class_intensities: class -> ``(channels, n)``, drawn from its voxels; nothing if image and label do not match.
        nan_voxels, label_nan_voxels: how many voxels are not a number or infinite, see :func:`count_not_finite`.
        label_values: all values that occur in the label.
        differences: in what the label's geometry differs from the image's: shape, spacing, origin, direction, affine.
        lesions: class -> its components.
        foreground_mm3: volume of everything that is neither background nor ignored.
        coarse_foreground: the foreground's mask, every ``stride``-th voxel.
    """

    name: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    channels: int
    hashes: tuple[str | None, ...]
    intensities: np.ndarray
    class_intensities: dict[str, np.ndarray]
    nan_voxels: int
    label_nan_voxels: int
    label_values: tuple[float, ...]
    differences: tuple[str, ...]
    lesions: dict[str, Lesions]
    foreground_mm3: float
    coarse_foreground: np.ndarray
    stride: tuple[int, ...]


@dataclass(frozen=True)
class UnreadableCase:
    """A case that nnU-Net's reader refuses, and why."""

    name: str
    reason: str


def measure_cases(dataset: RawDataset, num_workers: int) -> tuple[list[CaseStatistics], list[UnreadableCase]]:
    """Measure all cases in their order, in ``num_workers`` processes, with a progress bar.

    Raises:
        UserError: if a process dies, most likely for want of memory.
    """
    measure = partial(measure_or_explain, dataset)
    results = map_in_processes(measure, list(dataset.cases), num_workers, "--num-workers", desc="cases", unit="case")
    readable = [r for r in results if isinstance(r, CaseStatistics)]
    return readable, [r for r in results if isinstance(r, UnreadableCase)]


def measure_or_explain(dataset: RawDataset, name: str) -> CaseStatistics | UnreadableCase:
    """As :func:`measure_case`; what the reader prints is the reason where its exception gives none."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            return measure_case(dataset, name)
    except Exception as error:  # readers raise whatever their library does
        said = str(error).strip().splitlines()[-1:] or printed.getvalue().strip().splitlines()[:1]
        return UnreadableCase(name, (said or [type(error).__name__])[0].rstrip("."))


def read_case(dataset: RawDataset, name: str) -> tuple[np.ndarray, dict, np.ndarray, dict]:
    """Image ``(C, z, y, x)`` and label ``(z, y, x)`` with nnU-Net's properties of each.

    Raises:
        FileNotFoundError: without a label.
    """
    reader, files = dataset.reader(), dataset.cases[name]
    if not files.label.is_file():
        raise FileNotFoundError(f"there is no label {files.label}")
    image, image_properties = reader.read_images([str(file) for file in files.images])
    label, label_properties = reader.read_seg(str(files.label))
    return image, image_properties, label[0], label_properties


def measure_case(dataset: RawDataset, name: str) -> CaseStatistics:
    """Read a case and measure it; the same numbers whenever and wherever it runs."""
    image, properties, label, label_properties = read_case(dataset, name)
    differences = geometry_differences(image.shape[1:], properties, label.shape, label_properties)
    spacing = tuple(float(s) for s in label_properties["spacing"])
    finite_label = np.isfinite(label)
    masks = {k: np.isin(label, values) for k, values in dataset.classes.items()}
    foreground = np.logical_or.reduce(list(masks.values()))
    rng = np.random.default_rng(crc32(name.encode()))
    stride = tuple(coarse_stride(n) for n in label.shape)
    return CaseStatistics(
        name=name,
        shape=image.shape[1:],
        spacing=tuple(float(s) for s in properties["spacing"]),
        channels=len(image),
        hashes=tuple(_hash(channel) for channel in image),
        intensities=_draw(image, image[0].size, rng),
        class_intensities={}
        if "shape" in differences
        else {k: _draw(image, np.flatnonzero(mask), rng) for k, mask in masks.items() if mask.any()},
        nan_voxels=count_not_finite(image, dataset.cases[name].images),
        label_nan_voxels=count_not_finite(label, [dataset.cases[name].label]),
        label_values=tuple(float(v) for v in np.unique(label[finite_label])),
        differences=differences,
        lesions={k: find_lesions(mask, spacing) for k, mask in masks.items()},
        foreground_mm3=float(foreground.sum() * prod(spacing)),
        coarse_foreground=foreground[tuple(slice(None, None, s) for s in stride)],
        stride=stride,
    )


def count_not_finite(voxels: np.ndarray, files: Sequence[Path]) -> int:
    """How many voxels are NaN or infinite, as read or in the NIfTI files: SimpleITK reads such voxels there as 0."""
    read = int(voxels.size - np.isfinite(voxels).sum())
    if read or not all(str(file).endswith((".nii", ".nii.gz")) for file in files):
        return read
    stored = (nibabel.load(file).dataobj for file in files)
    return sum(int((~np.isfinite(data)).sum()) for data in map(np.asanyarray, stored) if data.dtype.kind == "f")


def find_lesions(mask: np.ndarray, spacing: Sequence[float]) -> Lesions:
    """The connected components of a bool mask; ``spacing`` in mm."""
    if not mask.any():
        return Lesions(np.zeros(0), np.zeros((0, mask.ndim)))
    statistics = cc3d.statistics(cc3d.connected_components(mask, connectivity=LESION_CONNECTIVITY))
    boxes = np.array([[s.stop - s.start for s in box] for box in statistics["bounding_boxes"][1:]])
    return Lesions(statistics["voxel_counts"][1:] * prod(spacing), boxes * np.asarray(spacing))


def geometry_differences(
    image_shape: Sequence[int], image: dict, label_shape: Sequence[int], label: dict
) -> tuple[str, ...]:
    """Names of what differs, from the properties that nnU-Net's readers return.

    Shape and spacing stop nnU-Net; the rest says where the voxels lie, which nnU-Net does not look at.
    """
    pairs = {"spacing": (image["spacing"], label["spacing"])}
    for stuff, keys in (("sitk_stuff", ("origin", "direction")), ("nibabel_stuff", ("original_affine",))):
        for key in keys:
            if key in image.get(stuff, {}):
                pairs[key.removeprefix("original_")] = image[stuff][key], label[stuff][key]
    different = [
        name
        for name, (a, b) in pairs.items()
        if np.shape(a) != np.shape(b) or not np.allclose(a, b, atol=GEOMETRY_TOLERANCE_MM)
    ]
    return tuple((["shape"] if tuple(image_shape) != tuple(label_shape) else []) + different)


def coarse_stride(n: int) -> int:
    """The smallest power of two that leaves at most ``COARSE_EDGE`` of n voxels."""
    stride = 1
    while n > COARSE_EDGE * stride:
        stride *= 2
    return stride


def equally_coarse(cases: Sequence[CaseStatistics]) -> list[np.ndarray]:
    """Foreground masks at one stride for all cases, so that their shapes compare."""
    common = np.max([case.stride for case in cases], axis=0)
    return [
        case.coarse_foreground[tuple(slice(None, None, int(c // s)) for c, s in zip(common, case.stride, strict=True))]
        for case in cases
    ]


def _hash(channel: np.ndarray) -> str | None:
    if channel.min() == channel.max():
        return None
    return blake2b(np.ascontiguousarray(channel), digest_size=16, key=str(channel.shape).encode()).hexdigest()


def _draw(image: np.ndarray, voxels: np.ndarray | int, rng: np.random.Generator) -> np.ndarray:
    """``(C, n)`` intensities of at most ``SAMPLES`` of the voxels given by flat index, or of the first ``voxels``."""
    total = voxels if isinstance(voxels, int) else len(voxels)
    drawn = rng.choice(voxels, min(total, SAMPLES), replace=total > SAMPLES)
    return image.reshape(len(image), -1)[:, drawn]
