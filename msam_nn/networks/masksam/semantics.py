"""From a set of masks with classes to one score a class and voxel, as logits that nnU-Net can average and export.

The score of a class is what its queries say together (MaskFormer's semantic inference, arXiv 2107.06278). Scores are no
logits: a score of 0 would count as even odds of a region, and a softmax over scores flattens them. So the logits are
chosen such that nnU-Net's softmax or sigmoid gives back the (normalised) scores. They stay within +-14, which float16
holds.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIN_SCORE = 1e-6
MIN_PROBABILITY = 1e-4


def softmax_logits(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """``log sum_n p_nc m_n``, whose softmax are the normalised scores.

    Arguments:
        class_logits: ``(..., N, C + 1)``, the last class "no object".
        mask_logits: ``(..., N, H, W)``.

    Returns:
        ``(..., C, H, W)``, float32.
    """
    p = class_logits.float().softmax(-1)[..., :-1]
    with torch.autocast(mask_logits.device.type, enabled=False):
        scores = torch.einsum("...nc,...nhw->...chw", p, mask_logits.float().sigmoid())
    return scores.clamp_min(MIN_SCORE).log()


def region_logits(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """``logit(1 - prod_n (1 - p_nr m_n))``: regions may overlap, and one query that fires is enough.

    Arguments and result as of :func:`softmax_logits`.
    """
    p = class_logits.float().softmax(-1)[..., :-1, None, None]
    absent = torch.ones((), device=p.device)
    for n in range(p.shape[-4]):
        absent = absent * (1 - p[..., n, :, :, :] * mask_logits[..., n, None, :, :].float().sigmoid())
    return (1 - absent).clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY).logit()
