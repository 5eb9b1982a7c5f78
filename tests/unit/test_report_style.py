"""One look for every figure, whatever the machine, its user and the names in the runs table are."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from figure_data import around, model
from matplotlib.figure import Figure
from report_data import TIMING, WINDOWS, another_decoder, curve_rows

from boldvision.errors import UserError
from boldvision.report import panels, results, style
from boldvision.report.figure_5 import figure_5
from boldvision.report.figure_9 import figure_9

HOSTILE = {
    "text.usetex": True,
    "axes.facecolor": "black",
    "figure.facecolor": "green",
    "image.origin": "lower",
    "savefig.bbox": "tight",
    "lines.linewidth": 9.0,
    "axes.formatter.use_locale": True,
}

DRAW = """
import sys
from boldvision.report import style
from matplotlib.figure import Figure

@style.styled()
def draw():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 2], label="a")
    figure.legend()
    style.note(figure, "note")
    return figure

style.save(draw(), sys.argv[1], sys.argv[2])
"""


def saved(figure: Figure, folder: Path) -> tuple[bytes, bytes]:
    style.save(figure, folder / "f.pdf", folder / "f.png")
    return (folder / "f.pdf").read_bytes(), (folder / "f.png").read_bytes()


@pytest.mark.survives(
    "results",
    "Matplotlib was set to another look before (rcParams, a style file)",
    "Figures begin from its defaults: the same bytes",
)
def test_what_was_set_before_changes_no_byte(tmp_path):
    evaluations = results.read(curve_rows(tmp_path, metrics=["ssim"]))
    plain = saved(figure_5(evaluations, ["ssim"], WINDOWS, TIMING, "note"), tmp_path / "plain")
    with matplotlib.rc_context(HOSTILE):
        figure = figure_5(evaluations, ["ssim"], WINDOWS, TIMING, "note")
        hostile = saved(figure, tmp_path / "hostile")
        assert matplotlib.rcParams["text.usetex"]
    assert plain == hostile


@pytest.mark.survives(
    "results",
    "A user's matplotlibrc, one that is no text, or an MPLBACKEND that does not exist",
    "None of them is read: the same bytes as without",
)
def test_a_users_files_and_variables_are_not_read(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"axes.facecolor: black\n\xff\xfe")
    places = {"MPLCONFIGDIR": tmp_path, "PYTHONPATH": Path(__file__).parents[2]}
    theirs = {"MATPLOTLIBRC": tmp_path / "matplotlibrc", "MPLBACKEND": "no-such"}
    theirs |= {"LC_ALL": "de_DE.UTF-8", "SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "7"}
    script, folder = tmp_path / "draw.py", tmp_path / "theirs"
    script.write_text(DRAW)
    subprocess.run(
        [sys.executable, script, folder / "f.pdf", folder / "f.png"],
        check=True,
        env=os.environ | {key: str(value) for key, value in (places | theirs).items()},
    )
    scope: dict = {"__name__": "draw"}
    exec(DRAW.rpartition("style.save")[0], scope)
    here = saved(scope["draw"](), tmp_path / "here")
    assert here == tuple((folder / f"f.{kind}").read_bytes() for kind in ("pdf", "png"))


@pytest.mark.survives(
    "names",
    "A row, or a note, with characters that Matplotlib reads as mathematics",
    "They are drawn as they are",
)
@pytest.mark.parametrize("row", ["a$b$c", r"$\foo$", r"\$1", "x_y^2", "_hidden", r"C:\run"])
def test_names_are_text_in_figures(row, tmp_path):
    (tmp_path / "scores").mkdir()
    scored = model(tmp_path / "scores", "Row", {"main": {"ssim": around(0.5)}}) | {"row": row}
    figure = figure_9(results.read([scored]), ["ssim"], 40, rf"{row} $\note$")
    saved(figure, tmp_path)
    shown = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert shown[0] == row
    assert not any(text.get_parse_math() for text in figure.findobj(matplotlib.text.Text))


def test_named_curves_keep_their_look_and_others_get_a_free_one():
    looks = style.looks(["Ridge", "General", "Specialized", "Dynadiff"])
    assert looks["General"] == style.CURVES["General"]
    assert looks["Specialized"] == style.CURVES["Specialized"]
    seen = [(look["color"], look["linestyle"], look["marker"]) for look in looks.values()]
    assert len(set(seen)) == 4
    with pytest.raises(UserError, match="expected at most 8 curves in a figure, found 9"):
        style.looks("abcdefghi")


def test_chance_is_that_of_the_curve_with_the_most_points(tmp_path):
    rows = another_decoder(tmp_path)[::-1]
    figure = figure_5(results.read(rows), ["ssim"], WINDOWS, TIMING)
    (chance,) = (line for line in figure.axes[0].lines if line.get_label() == "Chance")
    assert len(chance.get_xdata()) == 16
    assert panels.metric_name("ssim") in figure.axes[0].get_ylabel()
