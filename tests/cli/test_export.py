"""A model folder with LoRA merged predicts the same through nnU-Net's own predictor."""

import json

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn import nnunet_hook
from msam_nn.cli.export import find_checkpoints
from msam_nn.cli.main import main
from msam_nn.errors import UserError
from msam_nn.trainers.msam.trainer import MSAMTrainer


@pytest.fixture
def model_folder(tmp_path, plans, dataset_json):
    """A trained model of two folds, LoRA far from zero."""
    folder = tmp_path / "model"
    manager = PlansManager(plans)
    for fold in (0, 1):
        torch.manual_seed(fold)
        network = MSAMTrainer.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 2, 3)
        for name, parameter in network.named_parameters():
            if ".lora_" in name or name == "class_embedding":
                torch.nn.init.normal_(parameter, std=0.3)
        (folder / f"fold_{fold}").mkdir(parents=True)
        checkpoint = {
            "network_weights": network.state_dict(),
            "trainer_name": "MSAMTrainer",
            "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": fold, "dataset_json": dataset_json},
            "inference_allowed_mirroring_axes": (0, 1, 2),
            "optimizer_state": {"state": {}},
            "grad_scaler_state": None,
            "current_epoch": 5,
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    return folder


def predict(folder, image):
    nnunet_hook.activate()
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    return predictor.predict_logits_from_preprocessed_data(image), predictor


def test_same_prediction(model_folder, tmp_path):
    assert main(["export", "--merge-lora", "-m", str(model_folder), "-o", str(tmp_path / "merged")]) == 0
    image = torch.randn(2, 40, 32, 32, generator=torch.Generator().manual_seed(5))
    before, original = predict(model_folder, image)
    after, predictor = predict(tmp_path / "merged", image)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-3)  # nnU-Net's sliding window keeps logits as float16
    for fold in (0, 1):
        logits = []
        for each in (original, predictor):
            each.network.load_state_dict(each.list_of_parameters[fold])
            with torch.inference_mode():
                logits.append(each.network(image[None, :, :32]))
        assert (logits[1] - logits[0]).norm() / logits[0].norm() < 1e-5
    assert len(predictor.list_of_parameters) == 2
    assert predictor.network.config.lora_rank == 0
    assert not any(".lora_" in name for name in predictor.network.state_dict())
    assert not any(p.requires_grad for p in predictor.network.image_encoder.parameters())


def test_lora_matters_here(model_folder):
    """Without it the comparison above would show nothing."""
    image = torch.randn(2, 32, 32, 32, generator=torch.Generator().manual_seed(5))
    with_lora, predictor = predict(model_folder, image)
    for parameters in predictor.list_of_parameters:
        for name in parameters:
            if ".lora_b_" in name:
                parameters[name] = torch.zeros_like(parameters[name])
    without = predictor.predict_logits_from_preprocessed_data(image)
    assert (with_lora - without).norm() / without.norm() > 1e-3


def test_chosen_folds(model_folder, tmp_path):
    main(["export", "--merge-lora", "-m", str(model_folder), "-f", "1", "-o", str(tmp_path / "merged")])
    assert [path.name for path in (tmp_path / "merged").glob("fold_*")] == ["fold_1"]


def test_existing_folder_is_left_alone(model_folder, capsys):
    assert main(["export", "--merge-lora", "-m", str(model_folder), "-o", str(model_folder)]) == 2
    assert "exists" in capsys.readouterr().err
    assert (model_folder / "fold_0" / "checkpoint_final.pth").is_file()


def test_missing_fold(model_folder, tmp_path, capsys):
    assert (
        main(["export", "--merge-lora", "-m", str(model_folder), "-f", "0", "4", "-o", str(tmp_path / "merged")]) == 2
    )
    assert "fold_4" in capsys.readouterr().err
    assert not list(tmp_path.glob("merged*"))


def test_model_without_lora(model_folder, tmp_path, capsys):
    main(["export", "--merge-lora", "-m", str(model_folder), "-o", str(tmp_path / "merged")])
    assert main(["export", "--merge-lora", "-m", str(tmp_path / "merged"), "-o", str(tmp_path / "again")]) == 2
    assert "no LoRA" in capsys.readouterr().err
    assert not list(tmp_path.glob("again*"))


def test_a_fold_that_was_not_trained(tmp_path):
    for fold in ("fold_0", "fold_all"):
        (tmp_path / fold).mkdir()
        (tmp_path / fold / "c.pth").touch()
    assert list(find_checkpoints(tmp_path, None, "c.pth")) == ["fold_0", "fold_all"]
    with pytest.raises(UserError, match="No such checkpoint: .*fold_1/c.pth: name the trained folds, -f 0 all."):
        find_checkpoints(tmp_path, ["0", "1"], "c.pth")
    with pytest.raises(UserError, match="fold_./d.pth: train it, or name another folder or -chk."):
        find_checkpoints(tmp_path, None, "d.pth")
