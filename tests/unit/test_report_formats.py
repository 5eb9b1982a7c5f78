"""Names are free text: in no format of a table do they become anything else."""

import numpy as np
import pandas as pd
import pytest

from boldvision.report import formats
from boldvision.report.formats import Cell, Header, Section, Sheet

NAMES = (
    "=HYPERLINK(\"http://x\",\"y\")", "+1+1", "-2+3", "@SUM(A1)", "  =1",
    "a|b", "a\\|b", "a & b", "<script>alert(1)</script>", r"\input{/etc/passwd}", "50 % of $x_1$",
)  # fmt: skip
KEPT = ("-0.03", "+0.5", "− 3", "Dynadiff", "1 TR", "a = b", "")


def sheet(name):
    lines = [[Cell(name), Cell(name, bold=True), Cell("0.5")]]
    heads = [Header("Method"), Header(name, name), Header("SSIM")]
    return Sheet("Table 1", name, heads, [Section(name, lines)], [name], sections_are="Subject")


@pytest.mark.survives(
    "names",
    "A row of a table is named like a formula of a spreadsheet",
    "The CSV has an apostrophe before it; numbers stay numbers",
)
def test_a_csv_has_no_formulas(tmp_path):
    texts = [*NAMES, *KEPT]
    values = np.linspace(-1, 1, len(texts))
    frame = pd.DataFrame({"row": texts, "value": values, "n": -1, "none": np.nan})
    formats.write_csv(frame, tmp_path / "a.csv")
    found = pd.read_csv(tmp_path / "a.csv", dtype={"row": str}, keep_default_na=False)
    assert list(found["row"]) == [*(f"'{name}" for name in NAMES[:5]), *NAMES[5:], *KEPT]
    assert np.array_equal(found["value"], values)
    assert (found["n"] == -1).all()


@pytest.mark.survives(
    "names",
    "A row of a table is named like HTML, a cell of Markdown or a command of LaTeX",
    "It is shown as it is written",
)
@pytest.mark.parametrize("name", NAMES[5:])
def test_markdown_and_latex_show_a_name_as_it_is(name):
    lines = formats.to_markdown(sheet(name)).splitlines()
    for line in (line for line in lines if line.startswith("|")):
        bare = line.replace("\\\\", "").replace("\\|", "")
        assert bare.count("|") == 5
    text = "\n".join(lines)
    assert text.count("<s") == text.count("\\<s")
    latex = formats.to_latex(sheet(name))
    assert latex.count(formats.escape(name)) == 7
    assert r"\input" not in latex


def test_a_p_value_is_written_as_it_was():
    assert "| < 0.001 |" in formats.to_markdown(
        Sheet("a", "b", [Header("p")], [Section("", [[Cell("< 0.001")]])], [])
    )
