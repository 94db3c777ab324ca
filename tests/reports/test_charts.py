import numpy as np
import pandas as pd

from msam_nn.reports.charts import box_plots, case_scatter, click_lines, cost_scatter, critical_difference_diagram


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


def test_scatter_draws_more_classes_than_there_are_colours():
    figure = case_scatter(scores(["A", "B"], [f"organ {n:02d}" for n in range(13)]), "dice", "Dice")
    assert len([line for line in figure.axes[0].lines if line.get_marker() == "o"]) == 13


def test_no_scatter_of_a_single_method():
    assert case_scatter(scores(["A"]), "dice", "Dice") is None


def test_the_critical_difference_diagram_places_methods_at_their_ranks():
    figure = critical_difference_diagram(pd.Series({"a": 1.2, "b": 1.9, "c": 2.9}), 1.0, [("a", "b"), ("b", "c")])
    lines = [line.get_xdata() for line in figure.axes[0].lines]
    assert sum(list(line[:2]) == [1.9, 1.9] for line in lines) == 1
    bars = [line.get_xdata() for line in figure.axes[0].lines if line.get_linewidth() == 4]
    assert [[round(x, 2) for x in bar] for bar in bars] == [[1.17, 1.93], [1.87, 2.93]]
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"a  1.20", "b  1.90", "2.90  c", "critical difference 1.00"} <= texts


def test_costs_that_nobody_knows_have_no_panel():
    table = pd.DataFrame({"method": ["a", "b"], "dice": [0.5, 0.6], "cpu": [1.0, 2.0], "gpu": [float("nan")] * 2})
    figure = cost_scatter(table, {"cpu": "CPU", "gpu": "GPU"}, "dice", "Dice")
    (panel,) = figure.axes
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in panel.lines] == [(1.0, 0.5), (2.0, 0.6)]
    assert panel.get_xscale() == "log" and panel.get_xlabel() == "CPU"


def test_a_cost_that_all_methods_share_is_not_drawn():
    table = pd.DataFrame({"method": ["A", "B"], "dice": [0.5, 0.6], "budget": [10.0, 10.4], "memory": [1.0, 1.1]})
    (panel,) = cost_scatter(table, {"budget": "minutes", "memory": "GiB"}, "dice", "Dice").axes
    assert panel.get_xlabel() == "GiB"
    assert len(cost_scatter(table[:1], {"budget": "minutes", "memory": "GiB"}, "dice", "Dice").axes) == 2


def test_click_lines_leave_out_what_was_not_clicked():
    figure = click_lines(pd.DataFrame({0: [0.5, float("nan")], 1: [0.6, 0.7]}, index=["a", "b"]), "Dice")
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[0, 1], [1]]
