"""MSD Lung in its published tree."""

from dataset_conversion.Dataset006_Lung import main


def test_published_tree(tree, check):
    lung = tree("Task06_Lung/imagesTr/lung_{:03d}", "Task06_Lung/labelsTr/lung_{:03d}", (0, 1))
    lung.write_test_image(40, "Task06_Lung/imagesTs/lung_{:03d}")
    lung.write_test_image(1, "Task06_Lung/imagesTr/._lung_{:03d}", "Task07_Pancreas/imagesTr/pancreas_{:03d}")
    folder = check(main, lung, "lung_{:03d}", "Dataset006_Lung", n_test=1)
    assert (folder / "imagesTs" / "lung_040_0000.nii.gz").is_file()
