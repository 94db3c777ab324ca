"""Released files to nnU-Net's -pretrained_weights, and what is refused."""

import hashlib
import json

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.cli.convert_weights import convert, planning_command
from msam_nn.cli.inspect import describe
from msam_nn.cli.main import main
from msam_nn.trainers.msam.trainer import MSAMTrainer


def convert_by_command(source, output, *more):
    return main(["convert-weights", str(source), "--dataset", "901", "-o", str(output), *more])


def network_for(plans):
    manager = PlansManager(plans)
    return MSAMTrainer.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 2, 3)


def test_nnunet_loads_the_file(planned_dataset, sam_med3d_file, tmp_path, plans):
    assert convert_by_command(sam_med3d_file, tmp_path / "init.pth") == 0
    network = network_for(plans)
    load_pretrained_weights(network, str(tmp_path / "init.pth"))
    released = torch.load(sam_med3d_file, weights_only=False)["model_state_dict"]
    state = network.state_dict()
    key = "image_encoder.blocks.0.attn.qkv.weight"
    assert torch.equal(state[key], released[key])
    patch = state["image_encoder.patch_embed.proj.weight"]
    assert patch.shape[1] == 2
    torch.testing.assert_close(patch.sum(1, keepdim=True), released["image_encoder.patch_embed.proj.weight"])
    assert state["class_embedding"].shape[0] == 2
    assert not state["class_embedding"].any()
    assert not state["image_encoder.blocks.0.attn.qkv.lora_b_q.weight"].any()


def test_file_serves_full_finetuning_too(planned_dataset, sam_med3d_file, tmp_path, plans):
    convert_by_command(sam_med3d_file, tmp_path / "init.pth")
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["lora_rank"] = 0
    network = network_for(plans)
    load_pretrained_weights(network, str(tmp_path / "init.pth"))
    released = torch.load(sam_med3d_file, weights_only=False)["model_state_dict"]
    key = "image_encoder.blocks.2.attn.qkv.weight"
    assert torch.equal(network.state_dict()[key], released[key])


def test_msam_file_brings_adapter_and_lora(msam_file, plans, dataset_json):
    content, _ = convert(msam_file, plans, "3d_fullres", dataset_json)
    assert content["msam_nn"]["kind"] == "M-SAM"
    assert content["msam_nn"]["new"] == ["class_embedding"]
    key = "image_encoder.blocks.0.attn.qkv.lora_b_v.weight"
    released = torch.load(msam_file)["model_state_dict"][
        "lora_sam.sam.image_encoder.blocks.0.attn.qkv.linear_b_v.weight"
    ]
    assert torch.equal(content["network_weights"][key], released)


def test_what_a_network_without_lora_and_adapter_makes_of_an_msam_file(msam_file, plans, dataset_json):
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(lora_rank=0, adapter=False)
    content, _ = convert(msam_file, plans, "3d_fullres", dataset_json)
    origin, description = content["msam_nn"], describe(content)
    assert len(origin["merged"]) == 3 and all(name.startswith("bidatt.") for name in origin["unused"])
    assert "LoRA into 3 weights" in description
    assert f"not used    {len(origin['unused'])} tensors of the file: mask_enhanced_adapter" in description


def test_region_data_sets_have_one_mask_per_region(sam_med3d_file, plans, dataset_json):
    dataset_json["labels"] = {"background": 0, "whole": [1, 2], "core": 2}
    dataset_json["regions_class_order"] = [1, 2]
    content, _ = convert(sam_med3d_file, plans, "3d_fullres", dataset_json)
    assert content["network_weights"]["class_embedding"].shape[0] == 2
    assert content["msam_nn"]["outputs"] == 2


def test_provenance_is_stored_plainly(planned_dataset, sam_med3d_file, tmp_path):
    convert_by_command(sam_med3d_file, tmp_path / "init.pth", "--seed", "3")
    origin = torch.load(tmp_path / "init.pth", weights_only=True)["msam_nn"]
    assert origin["source"] == "sam_med3d_turbo.pth"
    assert origin["sha256"] == hashlib.sha256(sam_med3d_file.read_bytes()).hexdigest()
    assert origin["kind"] == "SAM-Med3D"
    assert (origin["channels"], origin["outputs"], origin["seed"]) == (2, 3, 3)
    assert origin["adapted"] == ["image_encoder.patch_embed.proj.weight"]
    assert all(n == "class_embedding" or ".lora_" in n or n.startswith("mask_enhanced") for n in origin["new"])


def test_seed_decides_the_new_weights(sam_med3d_file, plans, dataset_json):
    made = [convert(sam_med3d_file, plans, "3d_fullres", dataset_json, seed=seed)[0] for seed in (0, 0, 1)]
    states = [content["network_weights"] for content in made]
    key = "image_encoder.blocks.0.attn.qkv.lora_a_q.weight"
    assert torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[0][key], states[2][key])


def test_existing_file_needs_force(planned_dataset, sam_med3d_file, tmp_path, capsys):
    output = tmp_path / "init.pth"
    output.write_bytes(b"precious")
    assert convert_by_command(sam_med3d_file, output) == 2
    assert "--force" in capsys.readouterr().err
    assert output.read_bytes() == b"precious"
    assert convert_by_command(sam_med3d_file, output, "--force") == 0
    assert not list(tmp_path.glob("*.partial"))


def test_other_files_are_refused_with_the_expected_keys(planned_dataset, tmp_path, capsys):
    torch.save({"model_state_dict": {"encoder.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    assert convert_by_command(tmp_path / "other.pth", tmp_path / "init.pth") == 2
    message = capsys.readouterr().err
    assert "image_encoder.*" in message
    assert "encoder.weight" in message
    assert not (tmp_path / "init.pth").exists()


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_code_in_a_file_is_not_run(planned_dataset, tmp_path, capsys):
    torch.save({"model_state_dict": {"a": torch.zeros(1)}, "x": Malicious()}, tmp_path / "bad.pth")
    assert convert_by_command(tmp_path / "bad.pth", tmp_path / "init.pth") == 2
    captured = capsys.readouterr()
    assert "executed" not in captured.out
    assert "not opened" in captured.err


def test_plans_of_another_network_are_refused(planned_dataset, sam_med3d_file, tmp_path, plans, capsys):
    arch = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arch.update(token_size=[16, 16, 16], lora_rank=0, window_size=0)
    (planned_dataset / "MSAMPlans.json").write_text(json.dumps({**plans, "plans_name": "MSAMPlans"}))
    assert convert_by_command(sam_med3d_file, tmp_path / "init.pth", "-p", "MSAMPlans") == 2
    assert "MSAMPretrainedPlanner" in capsys.readouterr().err


def nnunet_checkpoint(folder, weights, trainer, plans_name):
    content = {
        "network_weights": weights,
        "trainer_name": trainer,
        "init_args": {"plans": {"plans_name": plans_name}, "configuration": "3d_fullres", "fold": 0},
    }
    torch.save(content, folder / "checkpoint_final.pth")
    return folder / "checkpoint_final.pth"


def test_a_checkpoint_knows_its_plans(planned_dataset, tmp_path, capsys):
    heads = {"decoder.seg_layers.0.weight": torch.zeros(1)}
    checkpoint = nnunet_checkpoint(tmp_path, heads, "nnUNetTrainer", "nnUNetResEncUNetMPlans")
    assert convert_by_command(checkpoint, tmp_path / "init.pth") == 2
    assert "nnUNetResEncUNetMPlans.json" in capsys.readouterr().err
    assert convert_by_command(checkpoint, tmp_path / "init.pth", "-p", "nnUNetPlans") == 2
    assert "nnUNetPlans.json" in capsys.readouterr().err


def test_a_checkpoint_of_another_trainer_is_named(planned_dataset, tmp_path, plans, capsys):
    weights = network_for(plans).state_dict()
    weights["image_encoder.pos_embed"] = weights["image_encoder.pos_embed"][:, :2]
    checkpoint = nnunet_checkpoint(tmp_path, weights, "MSAMTrainer_5cpuminutes", "MSAMPlans")
    assert convert_by_command(checkpoint, tmp_path / "init.pth", "-p", "MSAMPretrainedPlans") == 2
    error = capsys.readouterr().err
    assert "is a checkpoint of MSAMTrainer_5cpuminutes: MSAMUNetTrainer takes one of nnUNetTrainer" in error
    assert "pos_embed" not in error and not (tmp_path / "init.pth").exists()


def test_the_command_to_train_with_can_be_copied(planned_dataset, sam_med3d_file, tmp_path, capsys):
    assert convert_by_command(sam_med3d_file, tmp_path / "my init.pth") == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assert command.endswith(f"-p MSAMPretrainedPlans -pretrained_weights '{tmp_path / 'my init.pth'}'")


@pytest.mark.parametrize("dataset", ["902", "Dataset902_Nothing"])
def test_unknown_data_set(planned_dataset, sam_med3d_file, tmp_path, capsys, dataset):
    assert main(["convert-weights", str(sam_med3d_file), "-d", dataset, "-o", str(tmp_path / "i.pth")]) == 2
    assert f"no data set {dataset}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plans", "end"),
    [
        ("MSAMPretrainedPlans", "-d 4 -c 3d_fullres -pl MSAMPretrainedPlanner"),
        ("MSAMPlans", "-d 4 -c 3d_fullres -pl MSAMPlanner"),
        ("nnUNetPlans", "-d 4 -c 3d_fullres"),
        ("Mine", "-d 4 -c 3d_fullres -pl PLANNER, with the planner that writes Mine"),
    ],
)
def test_how_plans_are_made(plans, end):
    assert planning_command("4", plans, "3d_fullres") == f"nnUNetv2_plan_and_preprocess {end}"


def test_missing_things_are_named(planned_dataset, sam_med3d_file, tmp_path, capsys, monkeypatch):
    assert convert_by_command(tmp_path / "nothing.pth", tmp_path / "i.pth") == 2
    assert "nothing.pth" in capsys.readouterr().err
    assert convert_by_command(sam_med3d_file, tmp_path / "i.pth", "-p", "OtherPlans") == 2
    assert "OtherPlans.json" in capsys.readouterr().err
    assert convert_by_command(sam_med3d_file, tmp_path / "i.pth", "-p", "MaskSAMPlans") == 2
    assert "nnUNetv2_plan_and_preprocess -d 901 -c 3d_fullres -pl MaskSAMPlanner" in capsys.readouterr().err
    assert convert_by_command(sam_med3d_file, tmp_path / "i.pth", "-c", "3d_lowres") == 2
    assert "3d_lowres" in capsys.readouterr().err
    monkeypatch.delenv("nnUNet_preprocessed")
    assert convert_by_command(sam_med3d_file, tmp_path / "i.pth") == 2
    assert "nnUNet_preprocessed" in capsys.readouterr().err
