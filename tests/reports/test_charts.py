import numpy as np
import pandas as pd

from msam_nn.reports.charts import box_plots, case_scatter


def scores(methods, labels=("tumour",)):
    rows = [(m, c, k, 0.1 * i) for m in methods for k in labels for i, c in enumerate("pqr")]
    return pd.DataFrame(rows, columns=["method", "case", "label", "dice"])


def test_boxes_leave_out_what_is_undefined():
    table = scores(["A", "B"], ["tumour", "organ"]).assign(hd95=[np.inf, np.nan, 3.0] * 4)
    figure = box_plots(table, {"dice": "Dice", "hd95": "HD95 / mm"})
    panels = {(axes.get_title(), axes.get_xlabel()): axes for axes in figure.axes}
    assert len(panels) == 4

    def points(axes):
        return [len(line.get_xdata()) for line in axes.lines if line.get_marker() == "."]

    assert points(panels["organ", "Dice"]) == [3, 3] and points(panels["organ", "HD95 / mm"]) == [1, 1]


def test_scatter_pairs_cases_with_the_first_method():
    table = scores(["A", "B", "C", "D", "E"])
    table.loc[table["method"] == "E", "dice"] = [0.9, 0.8, 0.7]
    figure = case_scatter(table, "dice", "Dice")
    assert len(figure.axes) == 4
    points = figure.axes[3].lines[0]
    assert list(points.get_xdata()) == [0.0, 0.1, 0.2] and list(points.get_ydata()) == [0.9, 0.8, 0.7]


def test_no_scatter_of_a_single_method():
    assert case_scatter(scores(["A"]), "dice", "Dice") is None
