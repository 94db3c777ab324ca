import numpy as np
import pandas as pd

from msam_nn.reports.markdown import markdown_table


def test_a_table_in_full():
    columns = {"a": [0.12345, np.nan], "b": ["x|y", "2\nlines"], "n": [3, 4], "c": [None, "c"]}
    table = pd.DataFrame(columns, index=["one", "two"])
    assert markdown_table(table.rename_axis("row"), 2).splitlines() == [
        "| row | a | b | n | c |",
        "| --- | --- | --- | --- | --- |",
        "| one | 0.12 | x\\|y | 3 | – |",
        "| two | – | 2 lines | 4 | c |",
    ]
