"""MSD tasks: published names in, and one value kept as the tumour."""

from dataset_conversion.msd import msd_task, msd_tumour_only


def test_tumour_only_changes_labels_and_name_alone():
    task = msd_task(7, "Pancreas", "pancreas", {"background": 0, "pancreas": 1, "cancer": 2})
    tumour = msd_tumour_only(task, "Dataset507_PancreasTumour", tumour=2)
    assert task.name == "Dataset007_Pancreas" and task.values == {0: 0, 1: 1, 2: 2}
    assert tumour.values == {0: 0, 1: 0, 2: 1} and tumour.labels == {"background": 0, "tumour": 1}
    assert (tumour.images, tumour.mask, tumour.licence) == (task.images, task.mask, task.licence)
    assert tumour.converter.keywords == {**task.converter.keywords, "labels": tumour.labels}
