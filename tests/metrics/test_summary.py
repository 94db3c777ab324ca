import math

import numpy as np
import pandas as pd
import pytest

from msam_nn.metrics.scores import Score, score
from msam_nn.metrics.summary import METRICS, count_cases, summarise, summary_table

EMPTY, CUBE = np.zeros((6, 6, 6), bool), np.zeros((6, 6, 6), bool)
CUBE[1:4, 1:4, 1:4] = True
PAIRS = {"hit": (CUBE, CUBE), "missed": (EMPTY, CUBE), "alarm": (CUBE, EMPTY), "rest": (EMPTY, EMPTY)}


def table(pairs, method="A", label="tumour"):
    rows = [
        {"method": method, "case": case, "label": label, **vars(score(*masks, (1.0, 1.0, 1.0)))}
        for case, masks in pairs.items()
    ]
    return pd.DataFrame(rows)


def value(summary, metric, label="tumour", column="mean"):
    return summary.query("metric == @metric and label == @label")[column].item()


def test_empty_cases_are_counted():
    counts = count_cases(table(PAIRS)).iloc[0]
    assert counts.drop(["method", "label"]).to_dict() == {
        "cases": 4,
        "without truth": 2,
        "false alarms": 1,
        "rightly empty": 1,
        "missed": 1,
        "true lesions": 2,
        "predicted lesions": 2,
    }


def test_single_slices_which_have_no_volume_are_counted_as_others_are():
    flat = {case: (prediction[:1], truth[1:2]) for case, (prediction, truth) in PAIRS.items() if case != "alarm"}
    flat["hit"] = (CUBE[1:2], CUBE[1:2])
    counts = count_cases(table(flat)).iloc[0]
    assert counts[["missed", "rightly empty", "false alarms"]].to_list() == [1, 1, 0]


def test_what_is_undefined_is_left_out_of_means():
    summary = summarise(table(PAIRS))
    assert value(summary, "dice") == pytest.approx(1 / 3) and value(summary, "dice", column="cases") == 3
    assert value(summary, "hd95") == 0 and value(summary, "hd95", column="cases") == 1
    assert value(summary, "lesion_sensitivity") == 0.5
    assert value(summary, "lesion_false_positives") == 0.25


def test_foreground_is_the_mean_of_classes():
    hit, missed = {"hit": PAIRS["hit"]}, {"hit": PAIRS["missed"]}
    summary = summarise(pd.concat([table(hit), table(missed, label="organ")]))
    assert value(summary, "dice", "mean of classes") == 0.5
    assert "mean of classes" not in set(summarise(table(hit))["label"])


def test_a_class_that_is_called_foreground_is_a_class():
    both = pd.concat([table({"rest": (EMPTY, CUBE)}, label="foreground"), table({"rest": (CUBE, CUBE)}, label="core")])
    summary = summarise(both)
    assert value(summary, "dice", "foreground") == 0 and value(summary, "dice", "mean of classes") == 0.5


def test_every_metric_is_a_score():
    assert set(METRICS) <= set(Score.__dataclass_fields__)


def test_methods_keep_their_order_and_undefined_cells_get_a_dash():
    scores = pd.concat([table(PAIRS, "Z"), table({"rest": PAIRS["rest"]}, "A")])
    readable = summary_table(summarise(scores), ("dice", "hd95"))
    assert list(readable["method"]) == ["Z", "A"]
    assert list(readable.columns) == ["method", "label", "Dice", "HD95 / mm"]
    assert readable["Dice"].tolist() == ["0.333 [0.000, 1.000]", "–"]
    assert readable["HD95 / mm"].tolist() == ["0.000", "–"]
    assert math.isnan(value(summarise(table({"rest": PAIRS["rest"]})), "dice"))
