"""M-SAM whose automatic prediction starts from prompts of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from msam_nn.networks.msam.config import MSAMConfig
from msam_nn.networks.msam.correcting import CorrectingMSAM
from msam_nn.networks.promptable import PromptSource


class SelfPromptedMSAM(CorrectingMSAM):
    """Without a prompt source, the initial mask is corrected by one more stage, prompted by ``automatic_prompts``."""

    def __init__(
        self,
        config: MSAMConfig,
        deep_supervision: bool,
        spacing: Sequence[float],
        automatic_prompts: PromptSource,
    ) -> None:
        super().__init__(config, deep_supervision, spacing)
        self.automatic_prompts = automatic_prompts

    @torch.compiler.disable(recursive=False)
    def forward(self, image: Tensor, prompt_source: PromptSource | None = None, *arguments: Any, **options: Any) -> Any:
        if prompt_source is not None:
            return super().forward(image, prompt_source, *arguments, **options)
        features = self.encode(image)
        prompted = self.run_stages(features, self.automatic_prompts, self.n_auto_stages + 1)[-1]
        return [prompted, *self._outputs(features.masks)[1:]] if self.deep_supervision else prompted
