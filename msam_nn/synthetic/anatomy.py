"""A random abdomen in miniature: which tissue lies where, before any scanner blurs it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

Triple = tuple[float, float, float]

ORGAN_RADII = np.array([32.0, 17.0, 18.0])
"""Semi-axes of the tumour-bearing organ in mm, ``(z, y, x)``, before the body's scale."""

CORE_LEVEL = 0.62
"""Where the core of a tumour ends, as a fraction of the tumour's radius."""

MIN_RADIUS_WITH_CORE = 9.0
"""Tumours of a smaller radius (mm) have no core."""


@dataclass(frozen=True)
class Tumours:
    """How many tumours a case gets, and how large.

    Arguments:
        radius: limits in mm, both included; small ones are as frequent as large ones on a logarithmic scale.
        count_odds: probabilities of one, two, ... tumours. One that would touch another is left out.
    """

    radius: tuple[float, float] = (8.0, 14.0)
    count_odds: tuple[float, ...] = (0.5, 0.3, 0.2)


@dataclass(frozen=True)
class Anatomy:
    """Ideal tissue maps of one case, all of shape ``(z, y, x)``.

    Arguments:
        density: CT number in HU, float32.
        uptake: tracer uptake as a standardised uptake value (SUV), float32.
        organ: the tumour-bearing organ, tumours excluded, bool.
        tumour: every tumour voxel, core included, bool.
        core: the necrotic centre of the larger tumours, bool; a subset of ``tumour``.
    """

    density: np.ndarray
    uptake: np.ndarray
    organ: np.ndarray
    tumour: np.ndarray
    core: np.ndarray


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], sigma: Triple) -> np.ndarray:
    """Correlated Gaussian noise of shape ``(z, y, x)``, mean 0 and standard deviation 1; ``sigma`` in voxels."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma)
    return (noise - noise.mean()) / noise.std()


class _Canvas:
    """Paints tissue over tissue on a grid of millimetres whose origin is the centre of the volume."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], spacing: Triple) -> None:
        axes = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
        self.z, self.y, self.x = np.meshgrid(*axes, indexing="ij", sparse=True)
        self.wobble = smooth_noise(rng, shape, tuple(5.0 / s for s in spacing))
        self.density = np.full(shape, -1000.0, np.float32)
        self.uptake = np.zeros(shape, np.float32)

    def ellipsoid(self, centre: np.ndarray, radii: np.ndarray, wobble: float = 0.0) -> np.ndarray:
        """Distance from ``centre`` in units of the radii (1 on the surface), roughened by ``wobble``."""
        offsets = ((p - c) / r for p, c, r in zip((self.z, self.y, self.x), centre, radii, strict=True))
        return np.sqrt(sum(o * o for o in offsets)) + wobble * self.wobble

    def tube(self, start: np.ndarray, direction: np.ndarray, radius: float) -> np.ndarray:
        """Distance from the line through ``start`` in units of ``radius``."""
        unit = direction / np.linalg.norm(direction)
        offsets = [p - c for p, c in zip((self.z, self.y, self.x), start, strict=True)]
        along = sum(o * u for o, u in zip(offsets, unit, strict=True))
        return np.sqrt(sum((o - along * u) ** 2 for o, u in zip(offsets, unit, strict=True))) / radius

    def paint(self, where: np.ndarray, density: float, uptake: float) -> None:
        self.density[where] = density
        self.uptake[where] = uptake


def draw_anatomy(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing: Triple, tumours: Tumours | None
) -> Anatomy:
    """Draw one abdomen: fat, muscle, spine, vessels, kidney, cysts, an organ, and tumours in it.

    Tumours are as dark as bowel and cysts outside the organ, and hardly darker than muscle, so no threshold finds
    them; in the uptake the kidney is as hot as any tumour. The body is about 70 mm wide, scaled to the field of
    view, and runs through all slices.

    Arguments:
        rng: every random choice comes from here.
        shape: ``(z, y, x)`` voxels.
        spacing: mm in array order.
        tumours: None leaves the organ healthy.
    """
    canvas = _Canvas(rng, shape, spacing)
    scale = min(shape[1] * spacing[1], shape[2] * spacing[2]) / 80.0
    inside = _draw_trunk(canvas, rng, scale)
    _draw_distractors(canvas, rng, scale, inside)
    centre = scale * (np.array([0.0, -4.0, -12.0]) + rng.uniform(-1, 1, 3) * [6.0, 2.0, 2.0])
    radii = scale * ORGAN_RADII * rng.uniform(0.92, 1.08, 3)
    organ = (canvas.ellipsoid(centre, radii, wobble=0.05) < 1) & inside
    density = rng.uniform(95, 115)
    canvas.paint(organ, density, 2.0)
    for _ in range(2):
        vessel = canvas.tube(centre + rng.uniform(-0.4, 0.4, 3) * radii, rng.standard_normal(3), rng.uniform(1.4, 2.2))
        canvas.paint((vessel < 1) & organ, rng.uniform(150, 170), 2.0)
    tumour, core = np.zeros(shape, bool), np.zeros(shape, bool)
    if tumours is not None:
        _draw_tumours(canvas, rng, tumours, centre, radii, density, inside, tumour, core)
    return Anatomy(canvas.density, canvas.uptake, organ & ~tumour, tumour, core)


def _draw_trunk(canvas: _Canvas, rng: np.random.Generator, scale: float) -> np.ndarray:
    """Skin, fat, muscle, spine and great vessels; returns the inside of the abdominal wall."""
    half_width, half_depth = scale * rng.uniform(35, 37), scale * rng.uniform(28, 30)
    fat = scale * rng.uniform(2.5, 5.5)
    endless = 1e6
    canvas.paint(canvas.ellipsoid((0, 0, 0), (endless, half_depth, half_width)) < 1, -100, 0.3)
    inside = canvas.ellipsoid((0, 0, 0), (endless, half_depth - fat, half_width - fat)) < 1
    canvas.paint(inside, 55, 0.8)
    canvas.paint(canvas.tube(scale * np.array([0.0, 7.0, 4.5]), np.array([1.0, 0, 0]), scale * 3.4) < 1, 165, 1.5)
    canvas.paint(canvas.tube(scale * np.array([0.0, 8.0, -4.5]), np.array([1.0, 0, 0]), scale * 3.2) < 1, 130, 1.5)
    spine = canvas.ellipsoid((0, scale * 17, 0), (endless, scale * 5.5, scale * 6.5))
    canvas.paint(spine < 1, 80, 0.8)
    height, phase = scale * 18, rng.uniform(0, 1)
    bone = (spine < 1) & (np.mod(canvas.z / height + phase, 1) < 0.8)
    canvas.paint(bone, 480, 1.0)
    canvas.paint(bone & (spine < 0.8), 230, 1.4)
    return inside


def _draw_distractors(canvas: _Canvas, rng: np.random.Generator, scale: float, inside: np.ndarray) -> None:
    """What resembles a tumour by its grey value but lies outside the organ."""
    kidney_centre = scale * (np.array([0.0, 10.0, 17.0]) + rng.uniform(-1, 1, 3) * [8.0, 1.5, 1.5])
    kidney = canvas.ellipsoid(kidney_centre, scale * np.array([15.0, 6.5, 6.0]), wobble=0.05)
    canvas.paint((kidney < 1) & inside, rng.uniform(145, 170), rng.uniform(6, 12))
    cyst, bowel, bright_bowel = (-10, 20), (10, 45), (140, 165)
    for low, high in (cyst, bowel, bowel, bright_bowel):
        at = scale * (np.array([0.0, -8.0, 15.0]) + rng.uniform(-1, 1, 3) * [30.0, 9.0, 10.0])
        ball = canvas.ellipsoid(at, rng.uniform(4, 8) * rng.uniform(0.8, 1.25, 3), wobble=0.08)
        canvas.paint((ball < 1) & inside, rng.uniform(low, high), 0.6)


def _draw_tumours(
    canvas: _Canvas,
    rng: np.random.Generator,
    tumours: Tumours,
    organ_centre: np.ndarray,
    organ_radii: np.ndarray,
    organ_density: float,
    inside: np.ndarray,
    tumour: np.ndarray,
    core: np.ndarray,
) -> None:
    """Paint tumours that do not touch, darker than the organ; fills the two masks."""
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(rng.choice(len(tumours.count_odds), p=tumours.count_odds) + 1):
        radius = float(np.exp(rng.uniform(*np.log(tumours.radius))))
        direction = rng.standard_normal(3)
        at = organ_centre + organ_radii * direction / np.linalg.norm(direction) * rng.uniform(0, 0.75)
        contrast, core_contrast = rng.uniform(60, 95), rng.uniform(20, 40)
        aspect, uptake = rng.uniform(0.85, 1.2, 3), rng.uniform(4, 9)
        if any(np.linalg.norm(at - other) < 1.3 * (radius + r) for other, r in placed):
            continue
        placed.append((at, radius))
        level = canvas.ellipsoid(at, radius * aspect, wobble=0.1)
        rim = (level < 1) & inside
        canvas.paint(rim, organ_density - contrast, uptake)
        tumour |= rim
        if radius >= MIN_RADIUS_WITH_CORE:
            necrosis = (level < CORE_LEVEL) & inside
            canvas.paint(necrosis, organ_density - contrast - core_contrast, 1.0)
            core |= necrosis
