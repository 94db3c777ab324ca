"""Training networks that plans describe, whatever their kind: checks, optimizer, update, checkpoints."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.helpers import dummy_context
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, autocast, nn
from torch.nn.parallel import DistributedDataParallel

from msam_nn.device import insist_on_device
from msam_nn.errors import UserError
from msam_nn.folders import new_file
from msam_nn.trainers.component_sampling import ComponentDataset
from msam_nn.trainers.optimisation import parameter_groups
from msam_nn.trainers.progress import ProgressMixin


class PlannedTrainer(ProgressMixin, nnUNetTrainer):
    """What our systems' trainers share: AdamW on what trains, lesions sampled by component, sentences for mistakes."""

    initial_learning_rate: float
    decay: float
    """Of the weights that decay: matrices and kernels."""
    gradient_clip = 1.0
    schedule: type[PolyLRScheduler] = PolyLRScheduler
    """nnU-Net's, unless a trainer says otherwise."""
    sample_components = True
    """Whether patches placed on foreground are placed on a connected component, whatever its size, or on a voxel."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        insist_on_device(device)
        self.prepare_plans(plans, configuration, dataset_json)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr = self.initial_learning_rate
        self.weight_decay = self.decay
        self.enable_deep_supervision = False
        planned = self.configuration_manager.configuration.get("oversample_foreground_percent")
        if planned is not None:
            self.oversample_foreground_percent, self.probabilistic_oversampling = planned, True

    def _set_batch_size_and_oversample(self):
        """nnU-Net's, which with several GPUs changes the share of foreground by the places of each one's samples in the
        batch: not where every sample draws it."""
        share = self.oversample_foreground_percent
        super()._set_batch_size_and_oversample()
        if self.probabilistic_oversampling:
            self.oversample_foreground_percent = share

    def prepare_plans(self, plans: dict, configuration: str, dataset_json: dict) -> None:
        """Check the plans, and change them in place where the network needs it, before nnU-Net reads and copies them.

        Raises:
            UserError: if they do not fit the trainer.
        """
        raise NotImplementedError

    @property
    def unwrapped_network(self) -> nn.Module:
        """The network itself, without DDP's and torch.compile's wrappers."""
        network = self.network.module if isinstance(self.network, DistributedDataParallel) else self.network
        return getattr(network, "_orig_mod", network)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameter_groups(), lr=self.initial_lr, betas=(0.9, 0.999))
        return optimizer, self.schedule(optimizer, self.initial_lr, self.num_epochs)

    def parameter_groups(self) -> list[dict]:
        """What trains, in the optimizer's groups."""
        return parameter_groups(self.network, self.weight_decay)

    def get_tr_and_val_datasets(self):
        datasets = super().get_tr_and_val_datasets()
        for dataset, purpose in zip(datasets, ("training", "validation"), strict=True):
            if len(dataset.identifiers) == 0:
                raise UserError(
                    f"Fold {self.fold} of {self.plans_manager.dataset_name} has no {purpose} case: check "
                    f"splits_final.json in {self.preprocessed_dataset_folder_base}, or train fold 'all'."
                )
        training, validation = datasets
        return (ComponentDataset(training) if self.sample_components else training), validation

    def do_split(self):
        try:
            return super().do_split()
        except ValueError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(
                f"{self.plans_manager.dataset_name} cannot be split into folds ({reason}): "
                f"with fewer than 5 cases train fold 'all', or write a splits_final.json."
            ) from error

    @property
    def budget_fraction(self) -> float:
        """Share of the training that has passed; with a time budget, of that."""
        return self.current_epoch / self.num_epochs

    def insist_on_declared_labels(self, target: Tensor) -> None:
        """Raises:
        UserError: if a label map on the CPU holds a value that ``dataset.json`` does not declare (in the loss it
            would be an index out of range).
        """
        highest = max(self.label_manager.all_labels + [self.label_manager.ignore_label or 0])
        if not self.label_manager.has_regions and int(target.max()) > highest:
            raise UserError(
                f"A label map of {self.plans_manager.dataset_name} holds the value {int(target.max())}, and "
                f"dataset.json declares labels up to {highest}: run nnUNetv2_plan_and_preprocess with "
                f"--verify_dataset_integrity, which names the cases, then correct dataset.json or the labels and "
                f"preprocess again."
            )

    def _autocast(self):
        """Without its cache: in older PyTorch weights cast under ``no_grad`` stayed without gradient in it."""
        return autocast(self.device.type, cache_enabled=False) if self.device.type == "cuda" else dummy_context()

    def _update(self, loss: Tensor) -> None:
        """Backward pass, gradient clipping, optimizer step; with nnU-Net's gradient scaler on CUDA."""
        self._backward(loss)
        self._step()

    def _backward(self, loss: Tensor) -> None:
        (loss if self.grad_scaler is None else self.grad_scaler.scale(loss)).backward()

    def _step(self) -> None:
        scaler = self.grad_scaler
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_clip)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()

    def save_checkpoint(self, filename: str) -> None:
        """Write beside and rename, so that a full disk leaves the previous checkpoint readable.

        Raises:
            UserError: if the file cannot be written.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            return super().save_checkpoint(filename)
        try:
            with new_file(Path(filename)) as partial:
                super().save_checkpoint(str(partial))
        except (OSError, RuntimeError) as error:
            if _is_of_the_device(error):
                raise
            kept = f"; the previous {os.path.basename(filename)} is untouched" if os.path.exists(filename) else ""
            raise UserError(
                f"The checkpoint {filename} could not be written ({str(error).splitlines()[0]}){kept}. Free some disk "
                f"space and continue with --c."
            ) from error

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        if isinstance(filename_or_checkpoint, str):
            insist_on_checkpoint(filename_or_checkpoint)
        try:
            super().load_checkpoint(filename_or_checkpoint)
        except (RuntimeError, ValueError) as error:
            if _is_of_the_device(error):
                raise
            name = filename_or_checkpoint if isinstance(filename_or_checkpoint, str) else "The checkpoint"
            reason = str(error).splitlines()[-1].strip()
            raise UserError(
                f"{name} does not fit the plans {self.plans_manager.plans_name}, {self.configuration_name}: {reason} "
                f"Was the data set planned again after that training, or was that another version of msam_nn? Train "
                f"again, or restore the plans or the version it used."
            ) from error


def insist_on_checkpoint(file: str) -> None:
    """Raises:
    UserError: if the file is no checkpoint, or not a whole one.
    """
    if not zipfile.is_zipfile(file):
        raise UserError(
            f"{file} is damaged or no checkpoint: copy it again, or delete it, and --c goes on from the other one that "
            f"is there."
        )


def _is_of_the_device(error: Exception) -> bool:
    """Whether a GPU failed or had too little memory, so that it says nothing about the file that was in hand."""
    return isinstance(error, torch.OutOfMemoryError) or "CUDA error" in str(error)


def resolve_configuration(plans: dict, configuration: str) -> tuple[PlansManager, ConfigurationManager]:
    """nnU-Net's managers of plans and of one of their configurations.

    Raises:
        UserError: if the plans have no such configuration.
    """
    if configuration not in plans["configurations"]:
        known = ", ".join(plans["configurations"])
        raise UserError(f"The plans {plans['plans_name']} have no configuration {configuration}, only {known}.")
    manager = PlansManager(plans)
    return manager, manager.get_configuration(configuration)


def finest(target: Tensor | list[Tensor]) -> Tensor:
    """The target at full resolution, with deep supervision or without."""
    return target[0] if isinstance(target, list) else target
