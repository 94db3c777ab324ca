"""SAM3D and Medical SAM Adapter on SAM's own weights: from the file to a training step."""

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from msam_nn.cli.convert_weights import convert
from msam_nn.errors import UserError
from msam_nn.networks.layers.depth_adapter import sam_names
from msam_nn.networks.masksam.config import TRUNKS
from msam_nn.networks.weights.sam import OUR_MATRIX, RELEASED_MATRIX

pytest.importorskip("monai", reason='needs MONAI: pip install "msam_nn[baselines]"')
from msam_nn.trainers.baselines.sam_slices import MedSAPretrainedTrainer, SAM3DPretrainedTrainer  # noqa: E402

CLASSES = (SAM3DPretrainedTrainer, MedSAPretrainedTrainer)


@pytest.fixture(autouse=True)
def small_trunk(monkeypatch):
    """ViT-B's place in the code, in a size for tests."""
    small = dict(embed_dim=32, depth=2, num_heads=2, window_size=2, global_blocks=(1,))
    monkeypatch.setitem(TRUNKS, "vit_b", small)


def started(trainer_class, phantom_plans):
    plans, dataset_json = phantom_plans
    trainer = trainer_class(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
    trainer.initialize()
    return trainer


@pytest.fixture
def sam_file(tmp_path, phantom_plans):
    """What SAM's file would hold for all parts that Medical SAM Adapter has, in its names."""
    network = started(MedSAPretrainedTrainer, ({**phantom_plans[0]}, phantom_plans[1])).network
    state = network.state_dict()
    names = {RELEASED_MATRIX if key == OUR_MATRIX else key: key for key in sam_names(network)}
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save({name: torch.randn(state[key].shape) * 0.02 for name, key in names.items()}, path)
    return path


@pytest.mark.parametrize("trainer_class", CLASSES)
def test_nothing_trains_on_random_weights(trainer_class, phantom_plans, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    name = trainer_class.__name__
    with pytest.raises(UserError, match=rf"{name} freezes .* -tr {name} -o init.pth.*take -tr \w+Trainer\.\)"):
        started(trainer_class, phantom_plans).on_train_start()


@pytest.mark.parametrize("trainer_class", CLASSES)
def test_released_weights_arrive_and_stay(trainer_class, phantom_plans, sam_file, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    name = trainer_class.__name__
    content, trainer_name = convert(sam_file, dict(phantom_plans[0]), "3d_fullres", phantom_plans[1], trainer_name=name)
    assert trainer_name == name and content["msam_nn"]["kind"] == "SAM"
    torch.save(content, tmp_path / "init.pth")
    trainer = started(trainer_class, phantom_plans)
    load_pretrained_weights(trainer.network, str(tmp_path / "init.pth"))
    trainer.insist_on_loaded_weights()
    released = torch.load(sam_file)["image_encoder.blocks.1.attn.qkv.weight"]
    trains = {key for key, p in trainer.network.named_parameters() if p.requires_grad}
    before = {key: p.detach().clone() for key, p in trainer.network.named_parameters()}
    assert torch.equal(before["image_encoder.blocks.1.attn.qkv.weight"], released)
    patch = tuple(trainer.configuration_manager.patch_size)
    scales = trainer._get_deep_supervision_scales()
    target = torch.randint(0, 3, (2, 1, *patch)).float()
    targets = target if scales is None else [target[..., :: round(1 / s[1]), :: round(1 / s[2])] for s in scales]
    trainer.set_deep_supervision_enabled(True)
    trainer.train_step({"data": torch.randn(2, 1, *patch), "target": targets})
    changed = {key for key, p in trainer.network.named_parameters() if not torch.equal(p, before[key])}
    assert changed and changed <= trains


def test_other_trainers_take_no_file_of_sams(phantom_plans, sam_file):
    with pytest.raises(UserError, match="MedSAPretrainedTrainer and SAM3DPretrainedTrainer; not UNETRTrainer"):
        convert(sam_file, phantom_plans[0], "3d_fullres", phantom_plans[1], trainer_name="UNETRTrainer")
