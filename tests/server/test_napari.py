"""napari's plug-in, unchanged, against the server.

It brings its own Qt, so it is looked for in another environment: ``MSAM_NN_NAPARI_PYTHON`` names its interpreter
(``pip install napari-nninteractive "napari[pyqt6]"``); by default it is this one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .bright_network import bright, inside
from .conftest import BALL, ROD, SHAPE

PYTHON = os.environ.get("MSAM_NN_NAPARI_PYTHON", sys.executable)
SCRIPT = Path(__file__).with_name("napari_clicks.py")


@pytest.mark.slow
def test_a_user_of_napari_clicks_undoes_and_runs(serve, tmp_path):
    found = subprocess.run([PYTHON, "-c", "import napari_nninteractive, PyQt6"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"{PYTHON} has no napari-nninteractive with PyQt6: MSAM_NN_NAPARI_PYTHON names one that has")
    np.save(tmp_path / "image.npy", bright(SHAPE, ROD, BALL))
    command = [PYTHON, str(SCRIPT), serve().url, "9,6,20", str(tmp_path / "image.npy")]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rod = int(inside(SHAPE, ROD).sum())
    sizes = {"initialized": 0, "clicked": rod, "undone": 0, "waiting": 0, "run": rod, "reset": 0}
    assert json.loads(done.stdout.splitlines()[-1]) == sizes
