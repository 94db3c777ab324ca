"""From a file of SAM's to a training: msam convert-weights, -pretrained_weights, and what msam says about both."""

import json

import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from msam_nn.cli.main import main
from msam_nn.inspection.plan_facts import read_plan_facts
from msam_nn.networks.layers.depth_adapter import sam_names
from msam_nn.networks.weights.sam import OUR_MATRIX, RELEASED_MATRIX


def plan(masksam_plans, tmp_path, monkeypatch):
    """A planned data set with a small MaskSAM network on a frozen trunk, in place of nnU-Net's preprocessed folder."""
    plans, dataset_json = masksam_plans
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["freeze_trunk"] = True
    folder = tmp_path / "preprocessed" / "Dataset900_TumourPhantom"
    folder.mkdir(parents=True)
    (folder / "MaskSAMPlans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))


def test_a_file_of_sams_starts_a_training(masksam_plans, make_trainer, tmp_path, monkeypatch, capsys):
    trainer = make_trainer(freeze_trunk=True)
    plan(masksam_plans, tmp_path, monkeypatch)
    file, init = tmp_path / "sam.pth", tmp_path / "init.pth"
    state = trainer.masksam.state_dict()
    sam = {RELEASED_MATRIX if n == OUR_MATRIX else n: torch.randn_like(state[n]) for n in sam_names(trainer.masksam)}
    torch.save(sam, file)
    command = ["convert-weights", str(file), "--dataset", "900", "-p", "MaskSAMPlans", "-o", str(init)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "-tr MaskSAMTrainer -p MaskSAMPlans -pretrained_weights" in printed
    load_pretrained_weights(trainer.network, str(init))
    trainer.insist_on_loaded_weights()
    loaded = trainer.masksam.state_dict()
    assert all(torch.equal(loaded[OUR_MATRIX if n == RELEASED_MATRIX else n], t) for n, t in sam.items())
    capsys.readouterr()
    assert main(["inspect", str(file)]) == 0
    assert "kind        SAM\n" in capsys.readouterr().out


def test_a_checkpoint_is_described(make_trainer, tmp_path, capsys):
    trainer = make_trainer()
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert main(["inspect", str(tmp_path / "checkpoint.pth")]) == 0
    assert "MaskSAM, patch [4, 32, 32], 8 queries a slice, trunk trained" in capsys.readouterr().out


def test_msam_check_knows_the_plans(masksam_plans):
    facts = read_plan_facts(masksam_plans[0], "3d_fullres", masksam_plans[1])
    assert facts.settings["queries a slice"] == "8" and facts.settings["trunk"] == "trains from scratch"
    assert facts.settings["token"].startswith("1 × 4 × 4 voxels")
