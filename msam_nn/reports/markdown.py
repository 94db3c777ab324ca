"""Tables in Markdown."""

from __future__ import annotations

import pandas as pd


def markdown_table(table: pd.DataFrame, decimals: int = 3) -> str:
    """A table with its index as the first columns; numbers rounded, whole numbers whole, missing ones a dash."""
    table = table.reset_index()
    lines = [[str(name) for name in table.columns], ["---"] * len(table.columns)]
    lines += [[_cell(value, decimals) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object, decimals: int) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, float):
        return f"{value:.{decimals}f}"
    return str(value).replace("|", "\\|").replace("\n", " ")
