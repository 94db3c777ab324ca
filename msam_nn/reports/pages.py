"""Self-contained HTML pages: one file, pictures inside, no network."""

from __future__ import annotations

import base64
import io
from datetime import date
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from msam_nn import __version__
from msam_nn.folders import new_file

DOTS_PER_INCH = 110


def figure_uri(figure: Figure) -> str:
    """A matplotlib figure as a ``data:`` URI for an ``<img>``."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def table_html(table: pd.DataFrame, decimals: int = 3) -> str:
    """A table for a page; text in it is escaped, missing numbers show as a dash."""
    return table.to_html(border=0, na_rep="–", float_format=f"{{:.{decimals}f}}".format, escape=True)


def rows_html(table: pd.DataFrame, decimals: int = 3) -> str:
    """:func:`table_html` of a table whose first column stands in place of row numbers."""
    first = table.columns[0]
    return table_html(table.set_index(first).rename_axis(index=None, columns=first), decimals)


def write_page(path: str | Path, template: str, *, title: str, **context) -> Path:
    """Fill a template of ``msam_nn/reports/templates`` (it extends ``base.html``) and write the page.

    Text is escaped; pass what :func:`table_html` returns through the filter ``safe``.
    """
    environment = Environment(
        loader=PackageLoader("msam_nn.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template(template).render(
        title=title, version=__version__, date=date.today().isoformat(), **context
    )
    path = Path(path)
    with new_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
