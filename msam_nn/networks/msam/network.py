"""M-SAM: encode an image once, then refine masks stage by stage (arXiv 2403.05912)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from msam_nn.networks.decoding.adapter import ImageHalf, MaskEnhancedAdapter
from msam_nn.networks.decoding.mask_decoder import MaskDecoder
from msam_nn.networks.decoding.prompt_encoder import PromptEncoder, write_clicks
from msam_nn.networks.decoding.pyramid_decoder import PyramidMaskDecoder, squash
from msam_nn.networks.encoders.pyramid import ConvPyramid
from msam_nn.networks.encoders.vit import ImageEncoder
from msam_nn.networks.layers.basic import upsample
from msam_nn.networks.layers.lora import is_lora_parameter
from msam_nn.networks.msam.config import MSAMConfig
from msam_nn.networks.promptable import PADDING, Points, PromptableNetwork

CLASS_EMBEDDING_SCALE = 20.0
"""Class embeddings start at zero, where all classes give the same mask, and are added to tokens of norm about
``sqrt(decoder_dim)``. Adam moves every stored value by about the learning rate a step, so stored this much smaller than
they act they move apart that much faster."""

CLICK_REACH, FINE_CLICK_REACH = 0.75, 0.3
"""Standard deviation, in tokens, over which prediction's correction of an overlooked click fades: without and with a
pyramid, whose network follows clicks by itself and more finely."""


class ImageFeatures(NamedTuple):
    """What one image gives to all classes and stages.

    embedding: ``(B, T, d, h, w)``.
    position: dense positional encoding ``(d, h, w, T)``.
    image_half: the adapter's share of the image, None without adapter.
    details: the mask decoder's share of the pyramid, coarsest first; None without pyramid.
    """

    embedding: Tensor
    position: Tensor
    image_half: ImageHalf | None
    details: tuple[Tensor, ...] | None = None


class RefinementState(NamedTuple):
    """What one stage hands to the next.

    logits: mask logits ``(B, K, 4d, 4h, 4w)``.
    clicks: all clicks written so far, like ``logits``; None for none.
    fine: mask logits ``(B, K, D, H, W)`` of a network whose masks are finer than that; None otherwise.
    """

    logits: Tensor
    clicks: Tensor | None
    fine: Tensor | None = None


class MSAM(PromptableNetwork):
    """Promptable segmentation network: ``config`` decides everything about it.

    ``network(image)`` predicts without prompts; ``network(image, prompt_source, n_stages)`` is the refinement loop.
    """

    def __init__(self, config: MSAMConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_size, self.num_classes = config.patch_size, config.num_classes
        self.background, self.n_auto_stages = config.background, config.n_auto_stages
        self.class_chunk = config.class_chunk
        self.click_reach = tuple(
            (FINE_CLICK_REACH if config.pyramid else CLICK_REACH) * edge for edge in config.token_size
        )
        dim = config.decoder_dim
        self.pyramid = None
        if config.pyramid:
            self.pyramid = ConvPyramid(config.in_channels, config.pyramid, config.token_size, config.embed_dim)
        self.image_encoder = ImageEncoder(
            in_channels=config.in_channels,
            token_size=config.token_size,
            grid_size=config.grid_size,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_ratio=config.mlp_ratio,
            window_size=config.window_size,
            global_blocks=config.global_blocks,
            output_dim=dim,
            relative_position=config.relative_position,
            lora_rank=config.lora_rank,
        )
        self.prompt_encoder = PromptEncoder(
            dim=dim,
            patch_size=config.patch_size,
            grid_size=config.grid_size,
            swap_dense_axes=config.swap_dense_axes,
        )
        transformer = dict(
            dim=dim, depth=config.decoder_depth, num_heads=config.decoder_heads, mlp_dim=config.decoder_mlp_dim
        )
        if self.pyramid is None:
            self.mask_decoder = MaskDecoder(**transformer)
        else:
            self.mask_decoder = PyramidMaskDecoder(
                **transformer,
                widths=self.pyramid.widths,
                strides=self.pyramid.strides,
                corrects=config.initial_masks,
            )
        self.mask_enhanced_adapter = None
        if config.adapter:
            self.mask_enhanced_adapter = MaskEnhancedAdapter(
                dim=dim,
                num_heads=config.adapter_heads,
                grid_size=config.grid_size,
                relative_position=config.relative_position,
            )
        self.class_embedding = nn.Parameter(torch.zeros(config.num_classes, config.decoder_dim))
        if not config.trains_encoder:
            for name, parameter in self.image_encoder.named_parameters():
                parameter.requires_grad_(is_lora_parameter(name))
            if self.pyramid is not None:
                nn.init.zeros_(self.pyramid.embed.weight)
                nn.init.zeros_(self.pyramid.embed.bias)

    def encode(self, image: Tensor) -> ImageFeatures:
        """Encode ``(B, C, D, H, W)``; costs as much as several stages, so keep the result.

        Raises:
            ValueError: if the image is not of the configured patch size.
        """
        return self.image_features(*self.embed(image))

    def embed(self, image: Tensor) -> tuple[Tensor, list[Tensor] | None]:
        """Image embedding ``(B, T, d, h, w)``, and the pyramid's levels; None without pyramid."""
        if tuple(image.shape[2:]) != self.config.patch_size:
            raise ValueError(
                f"This network takes images of {self.config.patch_size} voxels, got {tuple(image.shape[2:])}: "
                f"its positional embedding belongs to that patch size."
            )
        levels = None if self.pyramid is None else self.pyramid(image)
        return self.image_encoder(image, None if levels is None else self.pyramid.embed(levels[-1])), levels

    def image_features(self, embedding: Tensor, levels: list[Tensor] | None) -> ImageFeatures:
        """What the stages take from an image."""
        position = self.prompt_encoder.dense_position().to(embedding.dtype)
        half = None
        if self.mask_enhanced_adapter is not None:
            half = self.mask_enhanced_adapter.image_half(embedding.movedim(1, -1))
        details = None if levels is None else self.mask_decoder.image_half(levels)
        return ImageFeatures(embedding, position, half, details)

    def decode(
        self,
        features: ImageFeatures,
        points: Tensor,
        labels: Tensor,
        mask_prompt: Tensor | None = None,
        *,
        multimask: bool = False,
        classes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One refinement stage.

        Arguments:
            features: from :meth:`encode`.
            points: ``(B, K, P, 3)`` voxel indices of the patch; P may be 0.
            labels: ``(B, K, P)`` in {1, 0, -1}.
            mask_prompt: logits ``(B, K, 4d, 4h, 4w)`` of the stage before; None means all zero.
            multimask: return the three masks for ambiguous prompts instead of the one.
            classes: indices ``(K,)`` of the classes decoded; None for all of them in order.

        Returns:
            Mask logits ``(B, K, 4d, 4h, 4w)`` and predicted IoU ``(B, K)``; with ``multimask`` an axis of three
            follows K.
        """
        fused, sparse, class_embedding = self._fuse(features, points, labels, mask_prompt, classes)
        masks, iou = self.mask_decoder(fused, features.position, sparse, class_embedding, multimask=multimask)
        shape = (len(features.embedding), -1)
        masks, iou = masks.unflatten(0, shape) + self.config.mask_prior, iou.unflatten(0, shape)
        return (masks, iou) if multimask else (masks[:, :, 0], iou[:, :, 0])

    def decode_finely(
        self,
        features: ImageFeatures,
        points: Tensor,
        labels: Tensor,
        mask_prompt: Tensor | None = None,
        fine_prompt: Tensor | None = None,
        *,
        classes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """:meth:`decode` of a network with a pyramid.

        Arguments:
            fine_prompt: ``mask_prompt`` at the image's resolution, ``(B, K, D, H, W)``.

        Returns:
            Mask logits ``(B, K, 4d, 4h, 4w)`` and ``(B, K, D, H, W)``; None for the latter where cells are voxels.
        """
        fused, sparse, class_embedding = self._fuse(features, points, labels, mask_prompt, classes)
        b, k = len(features.embedding), len(class_embedding) // len(features.embedding)
        prompts = []
        for prompt, size in ((mask_prompt, self.config.mask_size), (fine_prompt, self.patch_size)):
            shape = (b * k, 1, *size)
            none = features.embedding.new_zeros(shape)
            prompts.append(squash(none if prompt is None else prompt.reshape(shape), none))
        masks, detail = self.mask_decoder.refine(
            fused, features.position, sparse, class_embedding, features.details, *prompts
        )
        masks = masks.unflatten(0, (b, k)) + self.config.mask_prior
        if detail is None:
            return masks, None
        detail = detail.unflatten(0, (b, k))
        # Where details are zero, the released network goes on from exactly its own mask.
        return masks + upsample(detail, self.config.mask_size), upsample(masks, self.patch_size) + detail

    def _fuse(
        self,
        features: ImageFeatures,
        points: Tensor,
        labels: Tensor,
        mask_prompt: Tensor | None,
        classes: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The mask decoder's input for ``N = B x K`` passes: image and mask embedding fused, points, classes."""
        class_embedding = CLASS_EMBEDDING_SCALE * self.class_embedding
        if classes is not None:
            class_embedding = class_embedding[classes]
        b, k = len(features.embedding), len(class_embedding)
        mask_size = self.config.mask_size
        if mask_prompt is None:
            mask_prompt = features.embedding.new_zeros(b, k, *mask_size)
        sparse = self.prompt_encoder.sparse(points.flatten(0, 1), labels.flatten(0, 1))
        dense = self.prompt_encoder.dense(mask_prompt.reshape(b * k, 1, *mask_size))

        def per_class(x: Tensor) -> Tensor:
            return x if k == 1 else x.repeat_interleave(k, dim=0)

        if features.image_half is None:
            fused = per_class(features.embedding) + dense
        else:
            half = ImageHalf(*(per_class(x) for x in features.image_half))
            fused = self.mask_enhanced_adapter(half, dense.movedim(1, -1)).movedim(-1, 1)
        return fused, sparse, class_embedding.repeat(b, 1)

    def refine(
        self,
        features: ImageFeatures,
        prompts: Points | None,
        state: RefinementState | None,
        classes: Tensor | None = None,
    ) -> RefinementState:
        """One stage of the loop: decode the newest points with the state of the stage before.

        With ``click_sigma`` set, every click so far is also written into the mask prompt.
        The stages are detached from each other: a stage learns to correct the mask it is given.
        """
        config = self.config
        k = config.num_classes if classes is None else len(classes)
        if prompts is None:
            shape, device = (len(features.embedding), k, 1), features.embedding.device
            prompts = Points(torch.zeros(*shape, 3, device=device), torch.full(shape, PADDING, device=device))
        clicks, mask_prompt, fine_prompt = None, None, None
        if state is not None:
            clicks, mask_prompt = state.clicks, state.logits.detach()
            fine_prompt = None if state.fine is None else state.fine.detach()
        written = self._written(prompts, features.embedding.dtype)
        if written is not None:
            clicks = written if clicks is None else clicks + written
            mask_prompt = clicks if mask_prompt is None else mask_prompt + clicks
            if self.has_fine_masks:
                fine_clicks = upsample(clicks, self.patch_size)
                fine_prompt = fine_clicks if fine_prompt is None else fine_prompt + fine_clicks
        if self.pyramid is None:
            logits, _ = self._stage(self.decode, features, *prompts, mask_prompt, classes=classes)
            return RefinementState(logits, clicks)
        logits, fine = self._stage(self.decode_finely, features, *prompts, mask_prompt, fine_prompt, classes=classes)
        return RefinementState(logits, clicks, fine)

    def _stage(self, decode: Callable, *arguments: Any, classes: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Decode, with ``checkpoint_stages`` again in the backward pass instead of keeping everything."""
        if self.config.checkpoint_stages and self.training:
            return checkpoint(decode, *arguments, classes=classes, use_reentrant=False)
        return decode(*arguments, classes=classes)

    @property
    def has_fine_masks(self) -> bool:
        """Whether masks are finer than the mask grid."""
        return self.pyramid is not None and self.config.mask_size != self.patch_size

    def masks(self, state: RefinementState) -> Tensor:
        """Mask logits ``(B, K, D, H, W)``: the stage's, interpolated where the network has no finer ones."""
        return upsample(state.logits, self.patch_size) if state.fine is None else state.fine

    def resume(self, masks: Tensor, clicks: Points | None = None) -> RefinementState:
        """The state to continue from full-resolution mask logits ``(B, K, D, H, W)`` and all clicks so far."""
        logits = upsample(masks, self.config.mask_size)
        written = None if clicks is None else self._written(clicks, masks.dtype)
        return RefinementState(logits, written, masks if self.has_fine_masks else None)

    def _written(self, clicks: Points, dtype: torch.dtype) -> Tensor | None:
        """Clicks on the mask grid, ``(B, K, 4d, 4h, 4w)``; None for networks that are told of clicks by tokens only."""
        config = self.config
        if config.click_sigma <= 0:
            return None
        return write_clicks(
            *clicks,
            token_size=config.token_size,
            mask_size=config.mask_size,
            sigma=config.click_sigma,
            logit=config.click_logit,
        ).to(dtype)

    def freeze_multimask_output(self) -> None:
        """Freeze what a loss on single masks never reaches, so that every trained parameter gets a gradient (DDP
        insists on that): the hypernetworks of the other three masks, the IoU head, and two unused released tensors."""
        unused = [*self.mask_decoder.output_hypernetworks_mlps[1:], self.mask_decoder.iou_prediction_head]
        unused.append(self.prompt_encoder.no_mask_embed)
        if self.mask_enhanced_adapter is not None:
            unused.append(self.mask_enhanced_adapter.add_norm4)
        for module in unused:
            module.requires_grad_(False)
