"""What msam inspect says about each kind of file."""

import numpy as np
import torch

from msam_nn.cli.main import main


def inspect(path, capsys):
    status = main(["inspect", str(path)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_converted_file(planned_dataset, sam_med3d_file, tmp_path, capsys):
    main(["convert-weights", str(sam_med3d_file), "-d", "901", "-o", str(tmp_path / "init.pth")])
    written = capsys.readouterr().out
    status, text = inspect(tmp_path / "init.pth", capsys)
    assert status == 0
    assert text.strip() in written  # convert-weights prints the same description
    for part in ("sam_med3d_turbo.pth (SAM-Med3D)", "SHA-256", "msam_nn", "Dataset901_Small", "LoRA 12"):
        assert part in text


def test_released_files(sam_med3d_file, msam_file, capsys):
    assert "SAM-Med3D" in inspect(sam_med3d_file, capsys)[1]
    text = inspect(msam_file, capsys)[1]
    assert "M-SAM" in text
    assert "mask_enhanced_adapter" in text


def test_checkpoint(tmp_path, capsys, plans, dataset_json):
    checkpoint = {
        "network_weights": {"a.weight": torch.zeros(3, 4), "position.gaussian_matrix": torch.zeros(9)},
        "trainer_name": "MSAMTrainer",
        "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": 2, "device": torch.device("cpu")},
        "current_epoch": 41,
        "_best_ema": np.float64(0.8125),
        "logging": {"train_losses": [np.float32(1.0)], "lrs": [8e-4]},
    }
    torch.save(checkpoint, tmp_path / "checkpoint_final.pth")
    status, text = inspect(tmp_path / "checkpoint_final.pth", capsys)
    assert status == 0
    for part in ("MSAMTrainer", "Dataset901_Small", "MSAMPretrainedPlans, 3d_fullres", "41", "0.8125", "LoRA rank 4"):
        assert part in text
    assert [line.split()[-1] for line in text.splitlines() if "parameters" in line] == ["12"]


def test_unknown_file_is_refused_with_the_expected_keys(tmp_path, capsys):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pth")
    status, text = inspect(tmp_path / "other.pth", capsys)
    assert status == 2
    assert "network_weights" in text
    assert "image_encoder.*" in text


def test_no_pytorch_file(tmp_path, capsys):
    (tmp_path / "text.pth").write_text("hello")
    status, text = inspect(tmp_path / "text.pth", capsys)
    assert status == 2
    assert "not a PyTorch file" in text
    assert len(text.strip().splitlines()) == 1
