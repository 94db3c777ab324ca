"""An image encoder that stays as loaded: nothing trains before it was loaded."""

from __future__ import annotations

import torch

from msam_nn.errors import UserError


class FrozenEncoderMixin:
    """For trainers of networks with an ``image_encoder`` that may be frozen.

    It keeps the weights it has, so random ones must have been replaced when training starts: by nnU-Net's
    ``-pretrained_weights``, or by the checkpoint that ``--c`` continues from.
    """

    released_weights: str
    """Name of the file that the encoder's weights are published in."""
    planner_from_scratch: str
    """Planner of networks that need no weights."""
    convert_options = ""
    """Further options of ``msam convert-weights`` for this trainer."""

    @property
    def what_freezes(self) -> str:
        """Subject and verb of the sentence about missing weights."""
        return f"The plans {self.plans_manager.plans_name} freeze"

    @property
    def way_from_scratch(self) -> str:
        """What to do without released weights."""
        return f"plan with {self.planner_from_scratch}"

    @property
    def plans_for_weights(self) -> str:
        """Name of plans that the released weights fit."""
        return self.plans_manager.plans_name

    @property
    def trains_encoder(self) -> bool:
        """Whether anything is learned in the encoder's own weights."""
        raise NotImplementedError

    def initialize(self) -> None:
        super().initialize()
        self.initial_positions = self.unwrapped_network.image_encoder.pos_embed.detach().clone()

    def on_train_start(self) -> None:
        if not self.was_initialized:
            self.initialize()
        self.insist_on_loaded_weights()
        super().on_train_start()

    def insist_on_loaded_weights(self) -> None:
        """Raises:
        UserError: if the encoder is frozen and still as it was initialised.
        """
        untouched = torch.equal(self.unwrapped_network.image_encoder.pos_embed, self.initial_positions)
        if self.trains_encoder or not untouched:
            return
        dataset, plans = self.plans_manager.dataset_name, self.plans_for_weights
        run = "Run" if plans == self.plans_manager.plans_name else f"With -p {plans}, run"
        raise UserError(
            f"{self.what_freezes} the image encoder and no weights were loaded into it. {run}: "
            f"msam convert-weights {self.released_weights} --dataset {dataset} -p {plans} "
            f"-c {self.configuration_name}{self.convert_options} -o init.pth; then add -pretrained_weights init.pth to "
            f"nnUNetv2_train. (To train everything from scratch, {self.way_from_scratch}.)"
        )
