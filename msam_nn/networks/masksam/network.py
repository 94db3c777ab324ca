"""MaskSAM: SAM's 2D network on volumes, prompted by itself (arXiv 2403.14103)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.decoding.sam import TOP_LEFT, SAMMaskDecoder, SAMPromptEncoder
from msam_nn.networks.encoders.sam import SAMImageEncoder
from msam_nn.networks.layers.basic import DeepMLP, upsample
from msam_nn.networks.layers.depth_adapter import sam_names
from msam_nn.networks.masksam.config import MaskSAMConfig
from msam_nn.networks.masksam.prompt_generator import FeatureFusion, PromptHeads, Prompts
from msam_nn.networks.masksam.semantics import region_logits, softmax_logits
from msam_nn.networks.masksam.stem import Stem

PROMPT_LOGIT = 10.0
"""Auxiliary masks are as sure as this at most when they prompt: about as sure as SAM's own masks, which it was trained
to be prompted with."""


class SetPrediction(NamedTuple):
    """``N`` queries of every slice.

    class_logits: ``(B, T, N, C + 1)``, the last class is "no object".
    mask_logits: ``(B, T, N, H, W)``.
    aux_mask_logits: ``(B, T, N, H, W)``, the prompt generator's own masks.
    aux_boxes: ``(B, T, N, 4)``, its boxes: ``(x1, y1, x2, y2)`` in units of the slice, 0 to 1.
    """

    class_logits: Tensor
    mask_logits: Tensor
    aux_mask_logits: Tensor
    aux_boxes: Tensor


class MaskSAM(nn.Module):
    """Semantic segmentation of one patch as a set of masks with a class each: ``config`` decides everything about it.

    ``network(image)`` returns a :class:`SetPrediction` in training mode and nnU-Net's logits in evaluation mode.

    SAM sees every slice as an image, and decodes it once for every query. Queries differ by the prompts that the
    network itself makes for them, a box, a mask and a token from which its class is read, and never see each other.
    Slices do: through adapters inside SAM's layers, and three-dimensional convolutions around them.

    Where SAM's masks are coarser than the image, a query's mask token also weighs the prompt generator's finest
    features, from zero on. That gives masks detail and leaves each to its query; the release has convolutions over the
    masks of all queries instead.
    """

    def __init__(self, config: MaskSAMConfig) -> None:
        super().__init__()
        self.config = config
        n_slices, dim = config.patch_size[0], config.decoder_dim
        self.stem = Stem(config.in_channels, config.upsampling)
        self.image_encoder = SAMImageEncoder(
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_ratio=config.mlp_ratio,
            window_size=config.window_size,
            global_blocks=config.global_blocks,
            output_dim=dim,
            token_size=config.token_size,
            table_size=config.canvas_grid,
            feature_blocks=config.feature_blocks,
            n_slices=n_slices,
            adapter_ratio=config.adapter_ratio,
            checkpoint_blocks=config.checkpoint_blocks,
        )
        widths = config.generator_widths
        self.fusion = FeatureFusion(
            embed_dim=config.embed_dim, neck_dim=dim, widths=widths, voxels_per_token=config.voxels_per_token
        )
        self.prompt_heads = PromptHeads(widths=widths, n_queries=config.n_queries, dim=dim)
        self.prompt_encoder = SAMPromptEncoder(dim)
        self.depth_position = nn.Parameter(torch.zeros(n_slices, dim))
        self.class_token = nn.Parameter(torch.randn(dim))
        self.mask_decoder = SAMMaskDecoder(
            dim=dim,
            depth=config.decoder_depth,
            num_heads=config.decoder_heads,
            mlp_dim=config.decoder_mlp_dim,
            n_slices=n_slices,
            grid_size=config.grid_size,
            adapter_ratio=config.adapter_ratio,
            checkpoint_layers=config.checkpoint_blocks,
        )
        self.class_head = nn.Linear(dim, config.num_classes + 1)
        self.detail = None
        if config.mask_size != config.patch_size[1:]:
            self.detail = DeepMLP(dim, dim, widths[-1])
            nn.init.zeros_(self.detail.layers[-1].weight)
            nn.init.zeros_(self.detail.layers[-1].bias)
        self._freeze()

    def _freeze(self) -> None:
        """Freeze SAM's weights if so configured, and always those of them that no output depends on (DDP insists on a
        gradient for everything trained)."""
        if self.config.freeze_trunk:
            sam = set(sam_names(self))
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(name not in sam)
        prompts, decoder = self.prompt_encoder, self.mask_decoder
        unused = [*prompts.point_embeddings[:TOP_LEFT], prompts.not_a_point_embed, prompts.no_mask_embed]
        for module in (*unused, *decoder.output_hypernetworks_mlps[1:], decoder.iou_prediction_head):
            module.requires_grad_(False)

    def forward(self, image: Tensor) -> SetPrediction | Tensor:
        """
        Arguments:
            image: ``(B, C_in, T, H, W)``, or ``(B, C_in, H, W)`` where patches have one slice.

        Returns:
            A :class:`SetPrediction` in training mode, otherwise nnU-Net's logits, ``(B, C, T, H, W)`` or
            ``(B, C, H, W)``.

        Raises:
            ValueError: if the image is not of the patch size.
        """
        if self.training:
            return self.predict_set(image)
        return self.predict(image)[1]

    def predict(self, image: Tensor) -> tuple[SetPrediction, Tensor]:
        """Both of what :meth:`forward` returns, in any mode."""
        prediction = self.predict_set(image)
        logits = self.semantic_logits(prediction)
        return prediction, logits[:, :, 0] if image.ndim == 4 else logits

    def predict_set(self, image: Tensor) -> SetPrediction:
        """The :class:`SetPrediction`, in any mode; arguments and errors are :meth:`forward`'s."""
        if image.ndim == 4:
            image = image[:, :, None]
        if tuple(image.shape[2:]) != self.config.patch_size:
            raise ValueError(
                f"This MaskSAM network takes patches of {self.config.patch_size}, got {tuple(image.shape[2:])}."
            )
        b = len(image)
        features = self.image_encoder(self.stem(image).transpose(1, 2).flatten(0, 1))
        embedding, *maps = (x.unflatten(0, (b, -1)).transpose(1, 2) for x in (features.embedding, *features.blocks))
        fused = self.fusion(embedding, maps)
        prompts = self.prompt_heads(fused)
        masks, mask_tokens, class_tokens = self._decode(embedding, prompts)
        mask_logits = upsample(masks, self.config.patch_size)
        if self.detail is not None:
            mask_logits = mask_logits + torch.einsum("bntc,bcthw->bnthw", self.detail(mask_tokens), fused[-1])
        return SetPrediction(
            self.class_head(class_tokens).transpose(1, 2),
            mask_logits.transpose(1, 2),
            prompts.mask_logits.transpose(1, 2),
            prompts.boxes.transpose(1, 2),
        )

    def _decode(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor, Tensor]:
        """SAM's decoder for every query of every slice, ``(B, N, T)`` in this order.

        SAM expects the logits of a mask as a mask prompt and pixels of its canvas as corners of a box. As in the
        release, both are taken as they are, without a gradient, unless the configuration says otherwise.

        Returns:
            Mask logits ``(B, N, T, 4h, 4w)``, mask tokens and class tokens ``(B, N, T, D)``.
        """
        config = self.config
        b, n, t, _ = prompts.boxes.shape
        boxes, logits = prompts.boxes, prompts.mask_logits
        if not config.prompt_gradient:
            boxes, logits = boxes.detach(), logits.detach()
        cells = F.adaptive_avg_pool2d(logits.clamp(-PROMPT_LOGIT, PROMPT_LOGIT).flatten(0, 1), config.mask_size)
        image = self.prompt_encoder.masks(cells.reshape(b * n * t, 1, *config.mask_size)).unflatten(0, (b, n, t))
        image = image + embedding.transpose(1, 2)[:, None]
        canvas_grid = [max(g, config.canvas_grid) for g in config.grid_size]
        position = self.prompt_encoder.grid(config.grid_size, canvas_grid).flatten(0, 1)
        position = (position + self.depth_position[:, None]).repeat(b * n, 1, 1)
        size, canvas = (tuple(g * config.token_size for g in grid) for grid in (config.grid_size, canvas_grid))
        corners = self.prompt_encoder.boxes(boxes.flatten(0, 2), size, canvas)
        class_tokens = (prompts.tokens + self.class_token).reshape(b * n * t, 1, -1)
        masks, mask_tokens, tokens = self.mask_decoder(
            image.flatten(0, 2), position.to(image.dtype), torch.cat([corners, class_tokens], dim=1)
        )
        return tuple(x.unflatten(0, (b, n, t)) for x in (masks, mask_tokens, tokens[:, -1]))

    def semantic_logits(self, prediction: SetPrediction) -> Tensor:
        """nnU-Net's logits ``(B, C, T, H, W)``, float32: see :mod:`msam_nn.networks.masksam.semantics`."""
        assemble = softmax_logits if self.config.background else region_logits
        return assemble(prediction.class_logits, prediction.mask_logits).transpose(1, 2)


def build_from_plans(
    input_channels: int, num_classes: int, deep_supervision: bool = False, **arch_kwargs: Any
) -> MaskSAM:
    """What the plans' ``network_class_name`` names: nnU-Net's ``get_network_from_plans`` calls it.

    ``num_classes`` is nnU-Net's number of segmentation heads. ``deep_supervision`` is accepted because nnU-Net passes
    it, and has no effect: MaskSAM is supervised by its auxiliary masks and boxes instead.
    """
    return MaskSAM(MaskSAMConfig.from_arch_kwargs(input_channels, num_classes, arch_kwargs))


BUILDER = "msam_nn.networks.masksam.build_from_plans"
"""``network_class_name`` of a MaskSAM architecture in nnU-Net's plans."""
