import numpy as np

from msam_nn.inspection.case_statistics import Lesions
from msam_nn.inspection.plan_facts import PlanFacts
from msam_nn.inspection.tables import class_table, extreme_cases, geometry_table, smallest_lesions

PLAN = PlanFacts("MSAMPlans", "3d_fullres", (2, 1, 1), (8, 8, 8), {}, ())


def test_geometry_by_hand(measured):
    table = geometry_table([measured(n, spacing=(z, 1, 1)) for n, z in (("a", 2), ("b", 3), ("c", 5))])
    assert table.loc["spacing (mm)", "z"] == "3 (2 – 5)"
    assert table.loc["size (mm)", "z"] == "48 (32 – 80)"
    assert table.loc["size (voxels)", "x"] == "16 (16 – 16)"


def test_classes_count_the_cases_that_have_them(measured):
    table = class_table([measured("a", (1000, 3000)), measured("b", ()), measured("c", (2000,))])
    row = table.loc["tumour"]
    assert (row["cases"], row["lesions"], row["lesions per case"]) == (2, 3, "1.5 (1 – 2)")
    assert row["ml per case"] == "3 (2 – 4)"
    assert row["ml per lesion"] == "2 (1 – 3)"
    absent = class_table([measured("b", ())]).loc["tumour"]
    assert (absent["cases"], absent["ml per case"]) == (0, "–")


def test_smallest_lesions_come_first(measured):
    cases = [measured("a", range(1000, 1020)), measured("b", (128,))]
    table = smallest_lesions(cases, PLAN)
    assert len(table) == 10 and table.index[0] == "b" and "a" in table.index
    assert table.iloc[0].tolist() == ["tumour", "128", "10 × 10 × 10", "0.25"]
    assert "tokens" not in smallest_lesions(cases, None)
    assert len(smallest_lesions([measured("c", ())], PLAN)) == 0


def test_many_cases_are_cut_to_the_extremes(measured):
    cases = [measured(f"c{i:02d}", (100.0 * i,)) for i in range(1, 31)]
    assert list(extreme_cases(cases).index) == [f"c{i:02d}" for i in (1, 2, 3, 4, 5, 26, 27, 28, 29, 30)]
    assert len(extreme_cases(cases[:10])) == 10


def test_extreme_cases_count_lesions_of_every_class(measured):
    organ = Lesions(np.array([5.0]), np.ones((1, 3)))
    table = extreme_cases([measured("a", lesions={"organ": organ, **measured("a", (1, 2)).lesions})])
    assert table.loc["a", ["lesions: organ", "lesions: tumour"]].tolist() == [1, 2]
