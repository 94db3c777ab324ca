"""Tasks that are derived from others."""

from dataset_conversion.Dataset029_LiTS import ALL
from dataset_conversion.description import same_values, tumour_only


def test_tumour_only_changes_name_labels_and_values_alone():
    tumour = tumour_only(ALL, "Dataset529_LiTSTumour", tumour=2)
    assert same_values(ALL.labels) == ALL.values == {0: 0, 1: 1, 2: 2}
    assert tumour.values == {0: 0, 1: 0, 2: 1} and tumour.labels == {"background": 0, "tumour": 1}
    assert tumour.name == "Dataset529_LiTSTumour" and (tumour.images, tumour.licence) == (ALL.images, ALL.licence)
