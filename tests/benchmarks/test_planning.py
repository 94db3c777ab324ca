import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from msam_nn.networks import MSAM

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def planning():
    spec = importlib.util.spec_from_file_location("benchmarks_planning", ROOT / "benchmarks" / "planning.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_documents_table_is_what_the_planner_decides(planning):
    page = (ROOT / "docs" / "planning.md").read_text(encoding="utf-8")
    assert planning.insert(page) == page, "run: python benchmarks/planning.py --write docs/planning.md"


@pytest.mark.parametrize("memory_gb", [2, 8])
@pytest.mark.parametrize("index", range(7))
def test_every_plan_trains(planning, index, memory_gb):
    """Shapes only, on the meta device: a forward pass of two stages and its backward pass."""
    assert len(planning.TYPICAL) == 7
    dataset = planning.TYPICAL[index]
    configuration = planning.plan(dataset, memory_gb)["configurations"]["3d_fullres"]
    config = planning.network_config(dataset, configuration)
    with torch.device("meta"):
        network = MSAM(config)
        network.freeze_multimask_output()
        image = torch.empty(configuration["batch_size"], config.in_channels, *config.patch_size)
    classes = torch.arange(min(config.num_classes, 2), device="meta")
    stages = network(image, lambda stage, masks: None, 2, classes)
    sum(stage.mean() for stage in stages).backward()
    expected = (len(image), len(classes) + config.background, *config.patch_size)
    assert [tuple(stage.shape) for stage in stages] == [expected] * 2, dataset.name
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad), dataset.name
