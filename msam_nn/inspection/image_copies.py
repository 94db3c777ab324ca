"""Images that occur twice, and the folds that they leak between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msam_nn.inspection.case_statistics import CaseStatistics


def identical_images(cases: Sequence[CaseStatistics]) -> dict[tuple[str, ...], list[int]]:
    """Groups of cases that share all voxels of a channel -> the channels they share; constant channels do not count."""
    owners = defaultdict(list)
    for case in cases:
        for channel, key in enumerate(case.hashes):
            if key is not None:
                owners[channel, key].append(case.name)
    groups = defaultdict(list)
    for (channel, _), names in sorted(owners.items()):
        if len(names) > 1:
            groups[tuple(names)].append(channel)
    return dict(groups)


def leaking_folds(groups: Sequence[Sequence[str]], folds: Sequence[dict]) -> dict[int, list[tuple[str, str]]]:
    """Fold -> pairs (trained on, validated on) of identical images, or of one case on both sides.

    Arguments:
        groups: names of identical cases. folds: as in nnU-Net's ``splits_final.json``.
    """
    leaks = {}
    for index, fold in enumerate(folds):
        train, validation = set(fold["train"]), set(fold["val"])
        pairs = [(name, name) for name in sorted(train & validation)]
        for group in groups:
            pairs += [(t, v) for t in group if t in train for v in group if v in validation and v != t]
        if pairs:
            leaks[index] = pairs
    return leaks
