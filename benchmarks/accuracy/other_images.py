"""What clicks give on images unlike those of the training: validation images, noisy, blurred or of another contrast.

    python benchmarks/accuracy/other_images.py -d 501 -tr MSAMTrainer_15cpuminutes -p MSAMPlans -f 0

Each channel of each validation image is changed on its own grid, before the plans normalise it, with a seed of its own:
Gaussian noise of 0.6 standard deviations of the brighter 70 % of the voxels; a Gaussian blur of 1.2 voxels; a gamma of
2.2 or 0.45; a smooth factor over the image (a Gaussian field of a fifth of the edges, of which 0.6 is the logarithm's
standard deviation). Clicks in the centre of the largest error, on whole volumes, without mirroring.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter
from trained_model import TrainedModel, from_command_line

from msam_nn.evaluation.clicks.protocol import run_protocol
from msam_nn.evaluation.clicks.summary import SHOWN_CLICKS, scores_at, setbacks
from msam_nn.evaluation.clicks.whole_volume import WholeVolume

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def unchanged(voxels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return voxels


def noise(voxels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    inside = voxels[voxels >= np.quantile(voxels, 0.3)]
    return voxels + 0.6 * inside.std() * generator.normal(size=voxels.shape)


def blur(voxels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return gaussian_filter(voxels, 1.2)


def gamma(voxels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Between the darkest voxel and the 99.9th percentile."""
    lowest, highest = voxels.min(), np.quantile(voxels, 0.999)
    share = np.clip((voxels - lowest) / max(highest - lowest, 1e-6), 0, 1)
    return lowest + (highest - lowest) * share ** generator.choice([2.2, 0.45])


def bias_field(voxels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    field = gaussian_filter(generator.normal(size=voxels.shape), [n / 5 for n in voxels.shape])
    return voxels.min() + (voxels - voxels.min()) * np.exp(0.6 * field / field.std())


CHANGES = (unchanged, noise, blur, gamma, bias_field)


def changed_file(file: Path, change: Change, folder: Path) -> Path:
    """A changed copy of an image; the same file is always changed alike."""
    image = sitk.ReadImage(str(file))
    generator = np.random.default_rng(crc32(file.name.encode()))
    changed = sitk.GetImageFromArray(
        change(sitk.GetArrayFromImage(image).astype(np.float32), generator).astype(np.float32)
    )
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(folder / file.name))
    return folder / file.name


def clicked(model: TrainedModel, change: Change) -> pd.DataFrame:
    """Scores of all cases, as :func:`run_protocol` returns them."""
    with tempfile.TemporaryDirectory() as folder:
        images = {case: [changed_file(file, change, Path(folder)) for file in f] for case, f in model.images.items()}
        protocol = WholeVolume(n_clicks=range(11))
        scores, failed = run_protocol(protocol, model.folder, (model.fold,), images, model.labels, model.device)
    for case, reason in failed.items():
        print(f"{case} failed: {reason}")
    return scores


def main() -> None:
    """Print a Markdown table."""
    model = from_command_line(__doc__)
    print(f"\n{model.title}\n")
    print(f"| images | cases | {' | '.join(map(str, SHOWN_CLICKS))} | rounds after which Dice falls |")
    print("|---" * (3 + len(SHOWN_CLICKS)) + "|")
    for change in CHANGES:
        scores = clicked(model, change)
        # the last rows are the means of all classes
        falls = setbacks(scores)["share of rounds"].iloc[-1]
        means = " | ".join(f"{dice:.3f}" for dice in scores_at(scores, "dice").iloc[-1])
        print(f"| {change.__name__.replace('_', ' ')} | {scores.case.nunique()} | {means} | {falls:.1%} |", flush=True)


if __name__ == "__main__":
    main()
