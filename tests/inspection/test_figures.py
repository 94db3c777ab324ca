import numpy as np
import pytest
from matplotlib.colors import to_hex
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from msam_nn.inspection.case_statistics import Lesions
from msam_nn.inspection.figures import case_picture, geometry_spread, intensity_histograms, lesion_figure
from msam_nn.inspection.plan_facts import PlanFacts
from msam_nn.inspection.raw_dataset import RawDataset, open_raw_dataset
from msam_nn.reports.overlay import CLASS_COLOURS
from msam_nn.reports.pages import figure_uri

PLAN = PlanFacts("MSAMPlans", "3d_fullres", (2, 1, 1), (10, 10, 10), {}, ())


def dataset(*channels, classes=("tumour",)):
    return RawDataset("D", channels, {name: (i + 1,) for i, name in enumerate(classes)}, None, {}, 0, SimpleITKIO)


def test_picture_has_a_row_per_channel_and_leaves_ignored_voxels_out(raw_folder):
    labels = {"background": 0, "tumour": 1, "ignore": 2}
    raw = raw_folder(labels, channels=("CT", "PET"))
    truth = np.zeros((8, 10, 12), np.uint8)
    truth[2:4, 3:5, 3:5], truth[6] = 1, 2
    raw.add("a", [np.ones(truth.shape), np.full(truth.shape, np.nan)], truth)
    figure = case_picture(open_raw_dataset(raw.name, raw.dataset_json), "a")
    assert [text.get_text().split() for text in figure.texts] == [["a", "CT"], ["a", "PET"]]
    assert len(figure.axes) == 6
    assert figure.axes[0].texts[0].get_text() == "axial 2"  # not 6, the ignored slice
    assert to_hex(figure.axes[0].collections[0].get_edgecolor()[0]).upper() == CLASS_COLOURS[0]


def test_histograms_have_a_panel_per_channel_and_ct_keeps_its_unit(measured):
    intensities = np.stack([np.linspace(-1000, 1000, 200), np.linspace(0, 9, 200), np.zeros(200)])
    case = measured("a", channels=3, intensities=intensities, class_intensities={"tumour": np.ones((3, 10))})
    figure = intensity_histograms(dataset("CT", "PET", "T1"), [case])
    ct, pet, t1 = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["CT", "PET", "T1"]
    assert "HU" in ct.get_xlabel() and ct.get_xlim()[0] < -900
    assert "standard deviations" in pet.get_xlabel() and -3 < pet.get_xlim()[0] < -1.5
    assert figure_uri(figure).startswith("data:image/png")


def test_cases_on_other_scales_fall_together(measured):
    """As MR does: one case in units a thousand times the other's."""
    base = np.random.default_rng(0).normal(100, 10, (1, 500))
    cases = [
        measured(name, intensities=scale * base, class_intensities={"tumour": scale * base[:, :50]})
        for name, scale in (("a", 1), ("b", 1000))
    ]
    low, high = intensity_histograms(dataset("MRI"), cases).axes[0].get_xlim()
    assert -4 < low < high < 4


def test_spread_marks_the_median(measured):
    cases = [measured(n, spacing=(z, 1, 1)) for n, z in (("a", 2), ("b", 3), ("c", 5))]
    spacing, voxels, mm = geometry_spread(cases).axes
    assert spacing.collections[0].get_segments()[0][0][1] == 3
    assert mm.collections[0].get_segments()[0][0][1] == 48
    assert spacing.get_ylim()[0] == 0


@pytest.mark.parametrize("plan", [PLAN, None])
def test_lesions_are_counted_per_case(measured, plan):
    cases = [measured("a", (1000,)), measured("b", (10, 20)), measured("c", ()), measured("d", [5] * 25)]
    per_case, counts, single = lesion_figure(dataset("CT"), cases, plan).axes
    assert [bar.get_height() for bar in counts.patches] == [1, 1, 1, 0, 0, 0, 1]
    assert per_case.lines[0].get_ydata() == pytest.approx([0.03, 0.125, 1])
    assert [line.get_xdata()[0] for line in single.lines] == ([1.0] if plan else [])  # a token of 1000 mm³


def test_lesion_figure_without_any_lesion_and_with_many_classes(measured):
    names = [f"c{i}" for i in range(15)]
    lesions = {name: Lesions(np.zeros(0), np.zeros((0, 3))) for name in names}
    figure = lesion_figure(dataset("CT", classes=names), [measured("a", (), lesions=lesions)], None)
    assert figure_uri(figure).startswith("data:image/png")
