"""MSD HepaticVessel in its published tree: all labels, and the tumour alone."""

import json

import pytest

from dataset_conversion.Dataset008_HepaticVessel import main

ALL, TUMOUR = {"background": 0, "Vessel": 1, "Tumour": 2}, {"background": 0, "tumour": 1}


@pytest.mark.parametrize(
    "task, name, labels",
    [("all", "Dataset008_HepaticVessel", ALL), ("tumour", "Dataset508_HepaticVesselTumour", TUMOUR)],
)
def test_published_tree(tree, check, task, name, labels):
    vessels = tree("imagesTr/hepaticvessel_{:03d}", "labelsTr/hepaticvessel_{:03d}", (0, 1, 2))
    folder = check(main, vessels, "hepaticvessel_{:03d}", name, "--task", task)
    assert json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"] == labels
