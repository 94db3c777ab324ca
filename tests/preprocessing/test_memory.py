"""The memory formula against what a real training step keeps alive."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from msam_nn.networks import MSAMConfig
from msam_nn.networks.msam import build
from msam_nn.preprocessing.architecture import MODEL_SIZES
from msam_nn.preprocessing.memory import GB, bytes_per_sample, count_parameters, training_memory_gb, weights_bytes
from msam_nn.trainers.clicks.sessions import ClickRecipe
from msam_nn.trainers.msam.trainer import MSAMTrainer


def config(size="tiny", patch=(32, 32, 32), tokens=(8, 8, 8), classes=1, **changes):
    return MSAMConfig(
        in_channels=1, num_classes=classes, patch_size=patch, token_size=tokens, **{**MODEL_SIZES[size], **changes}
    )


PYRAMID = (8, 16, 32, 64)
CORRECTING = dict(pyramid=PYRAMID, initial_masks=True, n_auto_stages=1, click_sigma=2.0)


@pytest.fixture
def make_trainer(phantom_plans):
    def make(network: MSAMConfig, batch_size: int) -> MSAMTrainer:
        plans, dataset_json = deepcopy(phantom_plans)
        configuration = plans["configurations"]["3d_fullres"]
        configuration.update(batch_size=batch_size, patch_size=list(network.patch_size))
        configuration["architecture"]["arch_kwargs"] = network.to_arch_kwargs()
        names = [f"class {i + 1}" for i in range(network.num_classes)]
        dataset_json["labels"] = {"background": 0, **{name: i + 1 for i, name in enumerate(names)}}
        if not network.background:
            dataset_json["labels"] = {"background": 0, **{name: [i + 1, 99] for i, name in enumerate(names)}}
            dataset_json["regions_class_order"] = list(range(1, len(names) + 1))
        trainer = MSAMTrainer(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
        trainer.initialize()
        return trainer

    return make


def measure(trainer: MSAMTrainer) -> tuple[int, int]:
    """Bytes of one training step with all stages: weights, gradients and optimizer; and all else that lives when
    backward begins."""
    trainer.click_recipe = ClickRecipe(p_automatic=0, p_long=0)
    network, n_heads = trainer.msam.config, trainer.label_manager.num_segmentation_heads
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    def keep_all(outputs):
        for output in outputs:
            keep_all(output) if isinstance(output, list) else keep(output)

    trainer.network.register_forward_hook(lambda module, inputs, outputs: keep_all(outputs))
    shape = (trainer.configuration_manager.batch_size, 1, *network.patch_size)
    if network.background:
        target = torch.randint(0, n_heads, shape, dtype=torch.int16)
    else:
        target = torch.randint(0, 2, (shape[0], n_heads, *shape[2:]), dtype=torch.int16)
    batch = {"data": keep(torch.randn(shape)), "target": keep(target)}
    if network.initial_masks:
        scales = trainer._get_deep_supervision_scales()
        batch["target"] = [F.interpolate(target.float(), scale_factor=scale).to(target.dtype) for scale in scales]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trainer.train_step(batch)
    parameters = list(trainer.network.parameters())
    for parameter in parameters:
        storages.pop(parameter.untyped_storage()._cdata, None)
    moments = [t for state in trainer.optimizer.state.values() for t in state.values()]
    gradients = [p.grad for p in parameters if p.grad is not None]
    weights = sum(t.numel() * t.element_size() for t in (*parameters, *gradients, *moments))
    return weights, sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize(
    ("network", "batch_size"),
    [
        (config(), 2),
        (config(tokens=(4, 4, 4), patch=(24, 24, 24), classes=2), 3),
        (config(patch=(12, 64, 64), tokens=(4, 16, 16), classes=3, background=False), 2),
        (config(patch=(48, 48, 48), tokens=(16, 16, 16), classes=8), 2),
        (config("small", classes=4), 4),
        (config(classes=2, adapter=False, n_auto_stages=1), 2),
        (config(pyramid=PYRAMID), 2),
        (config(**CORRECTING), 2),
        (config(tokens=(4, 4, 4), patch=(24, 24, 24), classes=2, **CORRECTING), 2),
        (config(patch=(12, 64, 64), tokens=(4, 16, 16), classes=3, background=False, **CORRECTING), 2),
        (config("small", patch=(48, 48, 48), tokens=(16, 16, 16), classes=2, **CORRECTING), 2),
    ],
    ids=[
        "tiny",
        "fine tokens",
        "anisotropic regions",
        "eight classes",
        "small",
        "without adapter",
        "pyramid",
        "initial masks",
        "initial masks, fine tokens",
        "initial masks, anisotropic regions",
        "initial masks, coarse tokens",
    ],  # fmt: skip
)
def test_formula_is_within_20_percent_of_a_training_step(make_trainer, network, batch_size):
    weights, rest = measure(make_trainer(network, batch_size))
    assert weights_bytes(network) == pytest.approx(weights, rel=0.2)
    assert batch_size * bytes_per_sample(network) == pytest.approx(rest, rel=0.2)
    assert training_memory_gb(network, batch_size) * GB == pytest.approx(weights + rest, rel=0.2)


@pytest.mark.parametrize("changes", [{}, CORRECTING], ids=["masks of tokens", "initial masks"])
def test_checkpointed_stages_keep_one_stage_of_all(make_trainer, changes):
    plain, checkpointed = config(classes=2, **changes), config(classes=2, checkpoint_stages=True, **changes)
    _, kept = measure(make_trainer(checkpointed, 2))
    _, everything = measure(make_trainer(plain, 2))
    recomputed = (everything - kept) / (3 if changes else 6)
    assert 2 * bytes_per_sample(checkpointed) == pytest.approx(kept + recomputed, rel=0.2)
    assert bytes_per_sample(checkpointed) < 0.7 * bytes_per_sample(plain)


@pytest.mark.parametrize(
    "network",
    [
        config(),
        config("small", (12, 64, 48), (4, 16, 8), 5),
        config(adapter=False),
        config("base", (64, 64, 64), (16, 16, 16), 3),
        config("small", (12, 64, 48), (4, 16, 8), 5, **CORRECTING),
    ],
)
def test_parameters_are_counted_exactly(network):
    with torch.device("meta"):
        assert count_parameters(network) == build(network).parameter_counts()[1]


def test_more_than_eight_classes_cost_no_more_activations():
    assert bytes_per_sample(config(classes=13)) == bytes_per_sample(config(classes=8))
