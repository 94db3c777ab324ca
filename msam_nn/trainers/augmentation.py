"""Less augmentation than nnU-Net's."""

from __future__ import annotations

from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms


def flips_alone(transforms: ComposeTransforms) -> ComposeTransforms:
    """nnU-Net's training transforms with the random changes taken out, except for the flips."""
    kept = []
    for transform in transforms.transforms:
        if isinstance(transform, SpatialTransform):
            transform.p_rotation = transform.p_scaling = transform.p_elastic_deform = 0
        if not hasattr(transform, "apply_probability") or isinstance(transform, MirrorTransform):
            kept.append(transform)
    return ComposeTransforms(kept)
