"""From a random anatomy to what a scanner would have stored, and what a reader would have drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter

from msam_nn.errors import UserError
from msam_nn.synthetic.anatomy import Anatomy, Triple, Tumours, draw_anatomy, smooth_noise

SIGMA_PER_FWHM = 0.4247
CHANNEL_NAMES = ("CT", "PET")


@dataclass(frozen=True)
class PhantomOptions:
    """What the cases of a phantom data set look like. The image of a case depends on ``seed`` and shapes alone.

    Arguments:
        seed: of the data set; case ``i`` is the same whatever the number of cases.
        channels: 1 for CT (HU), 2 for CT and PET (SUV).
        regions: label overlapping regions, whole tumour and tumour core, instead of one tumour label.
        organ_label: label the tumour-bearing organ as well.
        ignore_label: mark about half of the axial slices as not annotated.
        empty_every: every n-th case has no tumour (cases n-1, 2n-1, ...); 0 for none.
        min_shape, max_shape: limits of the array's size ``(z, y, x)``, both included. The field of view is 72-92 mm
            in plane and 100-160 mm along z, so the spacing follows: 1.0-1.4 mm and 2.5-5 mm with the defaults.
        spacing: mm on all axes instead; the field of view then follows.
        tumours: how many and how large.

    Raises:
        UserError: for a channel count other than 1 or 2, shapes that are too small or out of order, a spacing that is
            not positive, or limits of the tumours' radius that are not positive or out of order.
    """

    seed: int = 0
    channels: int = 1
    regions: bool = False
    organ_label: bool = False
    ignore_label: bool = False
    empty_every: int = 8
    min_shape: tuple[int, int, int] = (32, 64, 64)
    max_shape: tuple[int, int, int] = (40, 72, 72)
    spacing: float | None = None
    tumours: Tumours = field(default_factory=Tumours)

    def __post_init__(self) -> None:
        if self.channels not in (1, 2):
            raise UserError(f"A phantom has 1 channel (CT) or 2 (CT, PET), not {self.channels}: choose 1 or 2.")
        if self.seed < 0 or self.empty_every < 0:
            raise UserError(f"seed ({self.seed}) and empty_every ({self.empty_every}) must not be negative.")
        if any(low < 8 or low > high for low, high in zip(self.min_shape, self.max_shape, strict=True)):
            raise UserError(
                f"A phantom needs at least 8 voxels per axis and min_shape <= max_shape, "
                f"not {self.min_shape} and {self.max_shape}."
            )
        if self.spacing is not None and self.spacing <= 0:
            raise UserError(f"The spacing of a phantom is positive, not {self.spacing} mm.")
        smallest, largest = self.tumours.radius
        if not 0 < smallest <= largest:
            raise UserError(
                f"The radius of tumours goes from a positive to a larger one, not {self.tumours.radius} mm."
            )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels in nnU-Net's terms; ``CT`` selects nnU-Net's CT normalisation."""
        return CHANNEL_NAMES[: self.channels]

    @property
    def labels(self) -> dict[str, int | tuple[int, ...]]:
        """The ``labels`` entry of ``dataset.json``: consecutive values, the ignore label last."""
        labels: dict[str, int | tuple[int, ...]] = {"background": 0}
        if self.regions:
            labels |= {"whole tumour": (1, 2), "tumour core": 2}
        else:
            labels["tumour"] = 1
        next_value = 3 if self.regions else 2
        for name, wanted in (("organ", self.organ_label), ("ignore", self.ignore_label)):
            if wanted:
                labels[name] = next_value
                next_value += 1
        return labels

    @property
    def regions_class_order(self) -> tuple[int, ...] | None:
        """Which value each region writes into a segmentation, in order; None without regions."""
        if not self.regions:
            return None
        return (1, 2, 3) if self.organ_label else (1, 2)


SMALL_LESIONS = PhantomOptions(
    min_shape=(56, 72, 72),
    max_shape=(64, 80, 80),
    spacing=1.0,
    tumours=Tumours(radius=(2.0, 4.0), count_odds=(0.1, 0.2, 0.3, 0.2, 0.2)),
)
"""One to five lesions with a radius of 2 to 4 voxels, voxels of 1 mm."""


def generate_case(options: PhantomOptions, index: int) -> tuple[np.ndarray, np.ndarray, Triple]:
    """Make case ``index`` of the data set that ``options`` describes.

    >>> image, segmentation, spacing = generate_case(PhantomOptions(), 0)
    >>> image.shape[0], image.shape[1:] == segmentation.shape
    (1, True)

    Returns:
        image ``(C, z, y, x)`` float32: whole HU, then SUV;
        segmentation ``(z, y, x)`` uint8 with the values of ``options.labels``;
        spacing in mm in array order, y and x alike.
    """
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([options.seed, index]).spawn(4)]
    body_rng, ct_rng, pet_rng, reader_rng = streams
    shape = tuple(int(n) for n in body_rng.integers(options.min_shape, options.max_shape, endpoint=True))
    in_plane, along_z = body_rng.uniform(72, 92) / min(shape[1:]), body_rng.uniform(100, 160) / shape[0]
    spacing = (round(along_z, 3), round(in_plane, 3), round(in_plane, 3))
    if options.spacing is not None:
        spacing = (options.spacing,) * 3
    is_empty = options.empty_every > 0 and (index + 1) % options.empty_every == 0
    anatomy = draw_anatomy(body_rng, shape, spacing, None if is_empty else options.tumours)
    channels = [_scan_ct(ct_rng, anatomy.density, spacing)]
    if options.channels == 2:
        channels.append(_scan_pet(pet_rng, anatomy.uptake, spacing))
    return np.stack(channels), _annotate(reader_rng, anatomy, options), spacing


def _scan_ct(rng: np.random.Generator, density: np.ndarray, spacing: Triple) -> np.ndarray:
    """Blur to 1.6 mm in plane and one slice thickness, add tissue texture and correlated noise, round to HU."""
    fwhm = (spacing[0], 1.6, 1.6)
    image = gaussian_filter(density, [SIGMA_PER_FWHM * f / s for f, s in zip(fwhm, spacing, strict=True)])
    texture = smooth_noise(rng, density.shape, tuple(3.0 / s for s in spacing))
    noise = smooth_noise(rng, density.shape, (0.3, 0.6, 0.6))
    tissue = density > -500
    image += 4 * texture * tissue + rng.uniform(9, 15) * noise
    return np.clip(np.rint(image), -1024, 3071).astype(np.float32)


def _scan_pet(rng: np.random.Generator, uptake: np.ndarray, spacing: Triple) -> np.ndarray:
    """Blur to 5 mm and add noise that grows with the square root of the signal; SUV, never negative."""
    image = gaussian_filter(uptake, [SIGMA_PER_FWHM * 5.0 / s for s in spacing])
    noise = smooth_noise(rng, uptake.shape, tuple(1.5 / s for s in spacing))
    return np.maximum(image + 0.25 * np.sqrt(image + 0.05) * noise, 0).astype(np.float32)


def _annotate(rng: np.random.Generator, anatomy: Anatomy, options: PhantomOptions) -> np.ndarray:
    """The label map ``(z, y, x)``; with an ignore label, the slice with most tumour always stays annotated."""
    segmentation = anatomy.tumour.astype(np.uint8)
    if options.regions:
        segmentation[anatomy.core] = 2
    if options.organ_label:
        segmentation[anatomy.organ] = options.labels["organ"]
    if options.ignore_label:
        skipped = rng.random(segmentation.shape[0]) < 0.5
        skipped[anatomy.tumour.sum(axis=(1, 2)).argmax()] = False
        segmentation[skipped] = options.labels["ignore"]
    return segmentation
