"""Training promptable networks in nnU-Net: what does not depend on the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import Tensor, nn

from msam_nn.networks import PromptableNetwork
from msam_nn.networks.promptable import PromptSource
from msam_nn.preprocessing.memory import CLASSES_PER_STEP, CLICK_STAGES
from msam_nn.prompts import CarefulClicks, Recorder, SimulatedClicks, foreground
from msam_nn.trainers.augmentation import flips_alone
from msam_nn.trainers.clicks.log import CLICK_DICE, ClickLogger
from msam_nn.trainers.clicks.loss import click_loss
from msam_nn.trainers.clicks.practice import PracticeRecipe, practise
from msam_nn.trainers.clicks.sessions import ClickRecipe, Session
from msam_nn.trainers.optimisation import PRACTICE_BEGINS, GroupPolyLRScheduler, PracticePolyLRScheduler
from msam_nn.trainers.planned_trainer import PlannedTrainer, finest
from msam_nn.trainers.targets import Targets, split_targets

CLICK_VALIDATIONS = 10
"""Batches of an epoch's online validation that are also clicked: a session costs several predictions."""


class PromptableTrainer(PlannedTrainer):
    """Trains a :class:`~msam_nn.networks.promptable.PromptableNetwork` to correct itself with simulated clicks.

    A clicked training step runs ``n_auto_stages + n_click_stages`` refinement stages, and those of a long session
    before them, an automatic step the automatic stages alone
    (:class:`~msam_nn.trainers.clicks.sessions.ClickRecipe` says which).

    The loss, 0.5 cross-entropy + 0.5 Dice (:attr:`loss_weight`) through nnU-Net's compound losses (arXiv 2403.05912,
    section 3.4), is averaged over the stages. Masks that a network has before any prompt get nnU-Net's deep supervision
    instead, and its stages a loss around their clicks (:func:`~msam_nn.trainers.clicks.loss.click_loss`). With more
    than :attr:`max_classes_per_step` classes each step refines a random subset of them; the rest count as background in
    that step.

    Networks with initial masks practise clicks in the last quarter of a training: everything is frozen but the network
    around clicks, images are not augmented but for mirroring, and each is encoded once for several clicks; an epoch has
    fewer such steps (:mod:`msam_nn.trainers.clicks.practice`). nnU-Net's ``checkpoint_best`` judges the automatic
    prediction, which stays as it is: it says nothing about practised clicks, and ``checkpoint_latest`` is saved every
    epoch.
    """

    click_recipe = ClickRecipe()
    practice_recipe: PracticeRecipe | None = PracticeRecipe()
    """None for no practice, whatever the network."""
    n_click_stages = CLICK_STAGES
    max_classes_per_step = CLASSES_PER_STEP
    loss_weight = 0.5
    initial_learning_rate = 8e-4
    decay = 0.1

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.click_validations_left = CLICK_VALIDATIONS
        self.click_generator = torch.Generator(device=self.device)
        self.session_generator = torch.Generator()
        self.logger.local_logger = ClickLogger()
        self.practises = False

    @property
    def promptable(self) -> PromptableNetwork:
        return self.unwrapped_network

    @property
    def will_practise(self) -> bool:
        """Whether the training ends with practice."""
        return self.promptable.has_initial_masks and self.practice_recipe is not None

    @property
    def n_stages(self) -> int:
        return self.promptable.n_auto_stages + self.n_click_stages

    def _build_loss(self) -> nn.Module:
        loss = super()._build_loss()
        self.stage_loss = loss.loss if isinstance(loss, DeepSupervisionWrapper) else loss
        self.stage_loss.weight_ce = self.stage_loss.weight_dice = self.loss_weight
        return loss

    @property
    def schedule(self) -> type[PolyLRScheduler]:
        return PracticePolyLRScheduler if self.will_practise else GroupPolyLRScheduler

    def parameter_groups(self) -> list[dict]:
        groups = super().parameter_groups()
        if not self.will_practise:
            return groups
        practised = {id(p) for p in self.promptable.neighbourhood.parameters()}
        return [
            {
                **group,
                "params": [p for p in group["params"] if (id(p) in practised) == practises],
                "practises": practises,
            }
            for practises in (False, True)
            for group in groups
        ]

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        # Reseeding each epoch makes a continued training draw the clicks that an uninterrupted one would have drawn.
        self.click_generator.manual_seed(1000 * self.current_epoch + self.local_rank)
        self.session_generator.manual_seed(self.current_epoch)  # one for all: with DDP the longest is waited for
        self.begin_practice_if_due()
        if self.promptable.has_initial_masks:  # given weights may have practised
            self.promptable.neighbourhood.set_practised(self.practises)
        if self.practises:
            self.log_practised_rate()

    def log_practised_rate(self) -> None:
        """nnU-Net logs the first group's, which is zero by then."""
        rate = next(group["lr"] for group in self.optimizer.param_groups if group["practises"])
        self.logger.local_logger.my_fantastic_logging["lrs"][-1] = rate
        self.print_to_log_file(f"Clicks are practised at a learning rate of {rate:.3g}")

    def begin_practice_if_due(self) -> bool:
        """Whether it began: at the start of an epoch, with a budget of time also in the middle of one."""
        if self.practises or not self.will_practise:
            return False
        due = bool(self.told_by_the_first(self.budget_fraction >= PRACTICE_BEGINS))
        if due:
            self.begin_practice()
        return due

    def begin_practice(self) -> None:
        """From now on clicks are practised, on images that are not augmented but for mirroring."""
        self.practises, self.save_every = True, 1
        self.promptable.neighbourhood.set_practised(True)
        self.num_iterations_per_epoch = min(self.num_iterations_per_epoch, self.practice_recipe.steps_per_epoch)
        for loader in (self.dataloader_train, self.dataloader_val):
            if hasattr(loader, "_finish"):  # one with worker processes
                loader._finish()
        augmented = self.get_training_transforms
        self.get_training_transforms = lambda *args, **kwargs: flips_alone(augmented(*args, **kwargs))
        self.dataloader_train, self.dataloader_val = self.get_dataloaders()
        self.print_to_log_file("The network around clicks practises from now on; everything else stays as it is")

    def draw_session(self) -> Session:
        """When this step is clicked."""
        session = self.click_recipe.draw(
            n_auto_stages=self.n_stages - self.n_click_stages,
            n_click_stages=self.n_click_stages,
            progress=self.budget_fraction,
            generator=self.session_generator,
        )
        if self.promptable.has_initial_masks:
            session = session._replace(silent=range(max(session.first_click, session.silent.stop)))
        return session

    def draw_classes(self) -> Tensor | None:
        """The classes this step refines; None for all."""
        n = self.promptable.num_classes
        if n <= self.max_classes_per_step:
            return None
        order = torch.rand(n, generator=self.click_generator, device=self.device).argsort()
        return order[: self.max_classes_per_step].sort().values

    def train_step(self, batch: dict) -> dict:
        self.insist_on_declared_labels(finest(batch["target"]))
        if self.begin_practice_if_due():
            batch = next(self.dataloader_train)
        if self.practises:
            return self.practice_step(batch)
        classes = self.draw_classes()
        data, target, targets = self._on_device(batch, classes)
        session = self.draw_session()
        clicks = self._clicks(targets, session.first_click)
        if self.promptable.has_initial_masks:
            clicks = Recorder(clicks, session.silent)
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            if self.promptable.has_initial_masks and session.is_automatic:
                outputs = self.network(data), []
            else:
                outputs = self.network(data, clicks, session.n_stages, classes, session.silent)
            loss = self.step_loss(outputs, targets, target, clicks)
        if self.is_ddp and session.is_automatic:  # DDP waits for the gradients of what clicks need
            loss = loss + 0 * sum(p.sum() for p in self.network.parameters() if p.requires_grad)
        self._update(loss)
        return {"loss": loss.detach().cpu().numpy()}

    def practice_step(self, batch: dict) -> dict:
        """As many updates as a session has clicks; the mean of their losses."""
        classes = self.draw_classes()
        data, _, targets = self._on_device(batch, classes)
        user = self._clicks(targets, 0, CarefulClicks, spacing=self.configuration_manager.spacing)
        self.promptable.eval()
        self.promptable.neighbourhood.train()
        self.lr_scheduler.step(self.current_epoch)  # few steps are long: with a budget of time each is at its own rate
        with self._autocast(), torch.no_grad():
            features = self.promptable.encode(data)
        rounds, losses = practise(self.promptable, features, targets, user, self.practice_recipe, classes), []
        while True:
            with self._autocast():
                loss = next(rounds, None)
            if loss is None:
                return {"loss": torch.stack(losses).mean().cpu().numpy()}
            self.optimizer.zero_grad(set_to_none=True)
            self._backward(loss)
            if self.is_ddp:  # its own averaging needs its own forward pass
                for parameter in self.promptable.neighbourhood.parameters():
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= dist.get_world_size()
            self._step()
            losses.append(loss.detach())

    def step_loss(
        self,
        outputs: list[Tensor] | tuple[list[Tensor], list[Tensor]],
        targets: Targets,
        target: Tensor | list[Tensor],
        clicks: PromptSource,
    ) -> Tensor:
        """Loss of a training step: the mean over the stages, plus that of the automatic outputs.

        Arguments:
            outputs: the stages' logits; with deep supervision ``(automatic, stages)``.
            target: nnU-Net's, a list with deep supervision.
            clicks: those of the step; of a network with initial masks a :class:`~msam_nn.prompts.Recorder`.
        """
        automatic, stages = outputs if isinstance(outputs, tuple) else (None, outputs)
        if self.promptable.has_initial_masks:
            losses = self._click_losses(stages, clicks, targets)
        else:
            losses = [self.stage_loss(logits, targets.loss) for logits in stages]
        loss = sum(losses) / max(1, len(losses))
        return loss if automatic is None else loss + self.loss(automatic, target)

    def _click_losses(self, stages: list[Tensor], clicks: Recorder, targets: Targets) -> list[Tensor]:
        """Of each stage that had clicks, around them."""
        options = dict(unit=self.promptable.voxels_per_length, exclusive=self.promptable.background)
        return [
            self.loss_weight * click_loss(logits, before, points, targets.masks, targets.valid, **options)
            for logits, (before, points) in zip(stages, clicks.learned, strict=True)
            if points is not None
        ]

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self.click_validations_left = CLICK_VALIDATIONS

    def validation_step(self, batch: dict) -> dict:
        """nnU-Net's counts for the automatic prediction; in the epoch's first batches also ``click_counts``."""
        counts = {}
        if self.click_validations_left:
            self.click_validations_left -= 1
            counts = {"click_counts": self.count_after_clicks(batch)}
        return {**super().validation_step(batch), **counts}

    def count_after_clicks(self, batch: dict) -> np.ndarray:
        """``(3, K)`` true positives, false positives and false negatives after the last click of a session that
        corrects the automatic mask, or begins without one where trainings only do that; 0 for classes beyond the
        number of a training step, of which the same ones are clicked every time."""
        classes = self._validated_classes()
        data, _, targets = self._on_device(batch, classes)
        first = self.promptable.n_auto_stages if self.click_recipe.p_from_nothing < 1 else 0
        with self._autocast():
            logits = self.network(data, self._clicks(targets, first), self.n_stages, classes)[-1]
        masks = logits[:, 1:] if self.promptable.background else logits
        found = foreground(masks, exclusive=not self.label_manager.has_regions)
        valid = torch.ones_like(targets.masks) if targets.valid is None else targets.valid
        true = targets.masks
        counts = [((a & b) & valid).sum((0, 2, 3, 4)) for a, b in ((found, true), (found, ~true), (~found, true))]
        every = torch.zeros(3, self.promptable.num_classes, dtype=torch.long, device=self.device)
        every[:, slice(None) if classes is None else classes] = torch.stack(counts)
        return every.cpu().numpy()

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        counts = torch.as_tensor(sum(output.pop("click_counts", 0) for output in val_outputs), device=self.device)
        if self.is_ddp:
            dist.all_reduce(counts)
        hit, wrong, missed = counts.double().cpu()
        dice = (2 * hit / (2 * hit + wrong + missed)).nanmean().item()
        self.logger.log(CLICK_DICE, dice, self.current_epoch)
        super().on_validation_epoch_end(val_outputs)
        automatic = self.logger.get_value("mean_fg_dice", step=-1)
        self.print_to_log_file(f"Mean pseudo dice: automatic {automatic:.4f}, after the last click {dice:.4f}")

    def _validated_classes(self) -> Tensor | None:
        """As many as a training step refines, spread over all; None for all."""
        n, most = self.promptable.num_classes, self.max_classes_per_step
        return None if n <= most else torch.linspace(0, n - 1, most, device=self.device).long()

    def _on_device(self, batch: dict, classes: Tensor | None) -> tuple[Tensor, Tensor | list[Tensor], Targets]:
        """Image, nnU-Net's target (a list with deep supervision), and what it says of ``classes``, None for all."""
        target = batch["target"]
        if isinstance(target, list):
            target = [level.to(self.device, non_blocking=True) for level in target]
        else:
            target = target.to(self.device, non_blocking=True)
        targets = split_targets(
            finest(target),
            num_classes=self.promptable.num_classes,
            has_regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
            classes=classes,
        )
        return batch["data"].to(self.device, non_blocking=True), target, targets

    def _clicks(
        self, targets: Targets, first_click: int, user: type[SimulatedClicks] = SimulatedClicks, **options: Any
    ) -> SimulatedClicks:
        return user(
            targets.masks,
            first_click=first_click,
            valid=targets.valid,
            exclusive=not self.label_manager.has_regions,
            p_central=self.click_recipe.p_central,
            reach=self.promptable.click_reach if self.click_recipe.corrected else None,
            generator=self.click_generator,
            **options,
        )
