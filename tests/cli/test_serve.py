import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
import torch

pytest.importorskip("fastapi", reason='needs pip install "msam_nn[serve]"')

from msam_nn.cli.main import main  # noqa: E402
from msam_nn.cli.serve import welcome  # noqa: E402
from msam_nn.networks.msam import build_from_plans  # noqa: E402
from msam_nn.server.settings import Settings, is_local  # noqa: E402

START = "import sys; from msam_nn.cli.main import main; sys.exit(main())"


@pytest.fixture
def model_folder(tmp_path, plans, dataset_json):
    """An untrained model with one channel, as nnU-Net leaves it."""
    dataset_json["channel_names"] = {"0": "CT"}
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    network = build_from_plans(1, 3, **architecture["arch_kwargs"])
    folder = tmp_path / "Dataset901_Small" / "MSAMTrainer__MSAMPretrainedPlans__3d_fullres"
    (folder / "fold_2").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": "MSAMTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_2" / "checkpoint_final.pth")
    return folder


def test_the_command_serves_the_first_trained_fold_until_it_is_interrupted(model_folder):
    command = [sys.executable, "-c", START, "serve", "-m", str(model_folder), "-device", "cpu", "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        lines = []
        while not lines or not lines[-1].startswith("Ctrl+C"):
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        address = next(line for line in lines if line.startswith("browser")).split()[1]
        end = time.monotonic() + 60
        while True:
            try:
                capabilities = httpx.get(f"{address}capabilities", timeout=60).json()
                break
            except httpx.ConnectError:
                assert time.monotonic() < end
        assert capabilities["labels"] == {"organ": 1, "tumour": 2}
        process.send_signal(signal.SIGINT)
        process.wait(60)
    finally:
        process.kill()
    assert "Traceback" not in process.stderr.read()


class Model:
    name = "Dataset901_Small/MSAMTrainer"

    class Class:
        name, label = "tumour", 2

    classes = [Class]
    channel_names = ["CT"]


def test_it_says_where_to_click():
    said = welcome(Settings(Model, host="::1", port=99, api_key="sesame"))
    for words in ("tumour (2)", "browser:   http://[::1]:99/", "3D Slicer", "napari", "MITK", "API key"):
        assert words in said
    assert "sesame" not in said and "saved to" not in said


def test_it_says_that_viewers_send_one_channel():
    class Fused(Model):
        channel_names = ["CT", "PET"]

    said = welcome(Settings(Fused))
    assert "viewers:   send one channel, and this model takes 2 (CT, PET)" in said and "Slicer" not in said


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_this_machine(host):
    assert is_local(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "192.168.0.1", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_other_machines(host):
    assert not is_local(host)


def test_what_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "-m", "model"]) == 2
    assert capsys.readouterr().err == 'msam serve: It needs uvicorn: pip install "msam_nn[serve]".\n'
