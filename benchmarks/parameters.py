"""Parameters of the networks of M-SAM's Table 1 (arXiv 2403.05912), counted here beside the published numbers.

    python benchmarks/parameters.py                              # print the table
    python benchmarks/parameters.py --write docs/parameters.md   # replace it there, between its two marks

One channel and one class beside the background on patches of 128 x 128 x 128, as in that paper. Nothing is
computed; most networks are built without memory for their weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from monai.networks.nets import SwinUNETR
from torch import nn

from msam_nn.networks import MSAM, MSAMConfig
from msam_nn.networks.baselines.med_sa import MedSA
from msam_nn.networks.baselines.sam3d import SAM3D
from msam_nn.registry import TRAINERS, load

BEGIN, END = "<!-- table: python benchmarks/parameters.py -->\n", "<!-- end of table -->\n"
PATCH, CLASSES = (128, 128, 128), 2


class Row(NamedTuple):
    """A network; ``published`` is total or "total / tunable" in millions."""

    method: str
    setting: str
    build: Callable[[], nn.Module]
    published: str
    why: str


def baseline(trainer: str) -> Callable[[], nn.Module]:
    return lambda: load(TRAINERS[trainer]).network_for(PATCH, (1.0, 1.0, 1.0), 1, CLASSES)


def swin_unetr(features: int) -> nn.Module:
    with torch.device("cpu"):  # MONAI reads numbers out of tensors here
        return SwinUNETR(1, CLASSES, feature_size=features)


def unet(stages: int) -> nn.Module:
    """nnU-Net's U-Net as planned for isotropic patches."""
    return PlainConvUNet(
        1, stages, [min(32 * 2**stage, 320) for stage in range(stages)], nn.Conv3d, 3, [1] + [2] * (stages - 1), 2,
        CLASSES, 2, conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU, deep_supervision=True,
    )  # fmt: skip


def msam(**changes) -> nn.Module:
    return MSAM(MSAMConfig.sam_med3d(in_channels=1, num_classes=1, patch_size=PATCH, **changes))


def on_sam(network: type, trunk: str) -> nn.Module:
    return network(in_channels=1, out_channels=CLASSES, patch_size=PATCH, trunk=trunk)


ROWS = (
    Row("nnU-Net", "six resolutions, as planned for 128^3", lambda: unet(6), "16",
        "Table 1's count is that of five resolutions, the next row"),
    Row("nnU-Net", "five resolutions", lambda: unet(5), "16", ""),
    Row("TransUNet", "encoder only, ViT-B", baseline("TransUNetTrainer"), "96",
        "Table 1's is the 2D network (a ResNet-50 and ViT-B); this is its 3D successor of the same group"),
    Row("UNETR", "MONAI, 16 features", baseline("UNETRTrainer"), "104",
        "the position table and embedding grow with the patch; no setting is given"),
    Row("SwinUNETR", "MONAI, 48 features, as published", lambda: swin_unetr(48), "138",
        "Table 1's fits 72 features, the next row; its authors published 48"),
    Row("SwinUNETR", "MONAI, 72 features", lambda: swin_unetr(72), "138", ""),
    Row("nnFormer", "embedding 192", baseline("nnFormerTrainer"), "151", ""),
    Row("Med-SA", "SAM's ViT-H", lambda: on_sam(MedSA, "vit_h"), "636 / 13",
        "the paper gives no width of the adapters; SAM's ViT-H alone has 641 M with its decoder"),
    Row("SAM3D", "SAM's ViT-B", lambda: on_sam(SAM3D, "vit_b"), "91.88 / 1.88",
        "Table 1's encoder has 90.00 M, SAM's ViT-B 89.67 M on its own image size"),
    Row("SAM-Med3D", "released geometry", lambda: msam(adapter=False, lora_rank=0), "101", ""),
    Row("M-SAM", "released geometry, LoRA of rank 4", lambda: msam(adapter=True, lora_rank=4), "118 / 25", ""),
)  # fmt: skip


def table() -> str:
    """Markdown, in millions; tunable ones where not all are."""
    lines = ["| network | setting | here | Table 1 | what differs |", "|---|---|---|---|---|"]
    for row in ROWS:
        with torch.device("meta"):
            parameters = list(row.build().parameters())
        total, tuned = (sum(p.numel() for p in chosen) / 1e6 for chosen in (
            parameters, [p for p in parameters if p.requires_grad]
        ))  # fmt: skip
        counted = f"{total:.2f}" if tuned == total else f"{total:.2f} / {tuned:.2f}"
        lines.append(f"| {row.method} | {row.setting} | {counted} | {row.published} | {row.why} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="PAGE")
    page = parser.parse_args().write
    if page is None:
        print(table(), end="")
        return
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
