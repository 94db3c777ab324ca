import base64

import pandas as pd
import pytest
from jinja2 import StrictUndefined, UndefinedError
from matplotlib.figure import Figure

from msam_nn.reports.pages import figure_uri, table_html, write_page

PNG = b"\x89PNG\r\n\x1a\n"


def test_figures_become_png_uris():
    figure = Figure()
    figure.subplots().plot([0, 1])
    kind, content = figure_uri(figure).split(",", 1)
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content).startswith(PNG)


def test_tables_escape_text_and_mark_what_is_missing():
    html = table_html(pd.DataFrame({"dice": [0.12345, None]}, index=["<b>", "case"]))
    assert "&lt;b&gt;" in html and "<b>" not in html
    assert "0.123" in html and "–" in html


def test_page_is_one_file_with_escaped_text(tmp_path):
    page = write_page(tmp_path / "new" / "page.html", "base.html", title="Dice < 1").read_text(encoding="utf-8")
    assert "<title>Dice &lt; 1</title>" in page
    assert "http" not in page


def test_a_template_variable_without_value_is_an_error(tmp_path):
    with pytest.raises(UndefinedError):
        write_page(tmp_path / "page.html", "base.html", title=StrictUndefined("title"))
    assert not (tmp_path / "page.html").exists()
