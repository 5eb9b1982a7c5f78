import re
from pathlib import Path

import numpy as np
import pytest
from report_data import LABELS, table_rows

from boldvision.report import formats, results, scorecard, tables

FOUR = ("subj01", "subj02", "subj05", "subj07")


@pytest.fixture
def miniature(tmp_path):
    return results.read(table_rows(tmp_path))


@pytest.fixture
def real(tmp_path):
    return results.read(table_rows(tmp_path, FOUR, genuine=True, generator=""))


def number(frame, **where):
    for key, value in where.items():
        frame = frame[frame[key] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_mean_and_standard_error_over_subjects(real):
    frame = tables.table_1(real, "nsd", simulated=False)
    ours = number(frame, source="ours", row="Dynadiff", metric="clip")
    scores = [100 * e.score("clip").value for e in real if e.row == "Dynadiff"]
    assert ours["value"] == pytest.approx(np.mean(scores))
    assert ours["sem"] == pytest.approx(np.std(scores, ddof=0) / 2)
    assert ours["subjects"] == 4


def test_one_subject_has_no_standard_error(tmp_path):
    evaluations = results.read(table_rows(tmp_path, ["subj01"]))
    frame = tables.table_1(evaluations, "miniature", simulated=True)
    assert np.isnan(number(frame, source="ours", row="Dynadiff", metric="clip")["sem"])


def test_units_are_the_papers(real):
    frame = tables.table_6(real, "nsd", simulated=False)
    e = next(e for e in real if e.row == "Dynadiff" and e.subject == "subj05")
    where = {"source": "ours", "row": "Dynadiff", "subject": "subj05"}
    assert number(frame, metric="ssim", **where)["value"] == e.score("ssim").value
    assert number(frame, metric="miou", **where)["value"] == 100 * e.score("miou").value
    assert number(frame, metric="miou", **where)["high"] == 100 * e.score("miou").high


def test_published_rows(real):
    one = tables.table_1(real, "nsd", simulated=False)
    six = tables.table_6(real, "nsd", simulated=False)
    published = number(one, source="published", row="Brain-Diffuser", metric="clip")
    assert (published["value"], published["sem"]) == (85.36, 1.05)
    assert "arXiv:2505.14556" in published["note"]
    assert list(six["subject"].unique()) == [*FOUR, "mean"]
    assert "Brain-Diffuser" not in set(six["row"])
    wave = number(six, source="published", row="WAVE", subject="mean", metric="ssim")
    assert "ddof = 1" in wave["note"]


def test_best_is_chosen_among_comparable_rows(real, miniature):
    frame = tables.table_1(real, "nsd", simulated=False)
    chosen = frame.loc[sorted(formats.best(frame))]
    assert list(chosen[chosen["metric"] == "clip"]["source"]) == ["published"]
    assert list(chosen[chosen["metric"] == "efficientnet"]["value"].round(2)) == [0.68, 0.68]
    frame = tables.table_1(miniature, "miniature", simulated=True)
    chosen = frame.loc[sorted(formats.best(frame))]
    assert list(chosen[chosen["metric"] == "clip"]["source"]) == ["published", "ours"]
    lowest = chosen[(chosen["metric"] == "dreamsim") & (chosen["source"] == "ours")]
    assert list(lowest["row"]) == ["Dynadiff"]


def test_another_network_is_not_comparable(tmp_path):
    evaluations = results.read(table_rows(tmp_path, generator=""))
    frame = tables.table_1(evaluations, "nsd", simulated=False)
    ours = frame[frame["source"] == "ours"]
    assert set(ours.loc[~ours["comparable"], "metric"]) == set(LABELS)
    text = formats.to_markdown(frame, "Title.")
    assert "CLIP-12 ↑ (ours: small random ViT)" in text
    assert "NOT COMPARABLE with the published rows for the metrics of another network" in text


def test_another_generator_is_not_comparable(tmp_path):
    evaluations = results.read(table_rows(tmp_path, genuine=True, generator="random weights"))
    frame = tables.table_1(evaluations, "nsd", simulated=False)
    assert not frame.loc[frame["source"] == "ours", "comparable"].any()
    assert "NOT COMPARABLE: our rows (dataset nsd; random weights" in "".join(tables.notes(frame))


def test_markdown_has_one_cell_per_column(miniature):
    frame = tables.table_6(miniature, "miniature", simulated=True)
    bars = [x for x in formats.to_markdown(frame, "Title.").splitlines() if x.startswith("|")]
    assert len(bars) == 2 + 3 * (4 + 2)
    assert {bar.count("|") for bar in bars} == {2 + 10 + 1}


def test_latex_is_well_formed(miniature):
    frame = tables.table_6(miniature, "miniature", simulated=True)
    text = formats.to_latex(frame, "Title.")
    bare = re.sub(r"\\.", "", text)
    assert bare.count("{") == bare.count("}")
    rows = [x for x in text.splitlines() if x.endswith(r"\\") and not x.startswith(r"\multi")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {10}
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text
    assert r"random\_weights \& 100 \%" in text
    assert re.search(r"[^\x00-\x7f]", text) is None


def test_files_are_reproducible(miniature, tmp_path):
    frame = tables.table_1(miniature, "miniature", simulated=True)
    written = []
    for place in ("a", "b"):
        paths = {k: str(tmp_path / place / f"t.{k}") for k in ("csv", "markdown", "latex")}
        formats.write(frame, "Title.", **paths)
        written.append([Path(p).read_bytes() for p in paths.values()])
    assert written[0] == written[1]


def test_scorecard_compares_on_real_data(real):
    frame = scorecard.scorecard(real, "nsd", simulated=False)
    clip = number(frame, row="Dynadiff", subject="mean", metric="clip", table=1)
    assert clip["difference"] == pytest.approx(clip["ours"] - 93.53)
    assert clip["within"] == "no"
    assert clip["low"] < clip["ours"] < clip["high"]
    ssim = number(frame, row="Dynadiff", subject="subj07", metric="ssim", table=6)
    assert ssim["published"] == 0.34
    assert set(frame.loc[frame["row"] == "Mean image", "within"]) == {"not published"}


def test_within_needs_overlapping_intervals():
    assert scorecard.within((0.30, 0.35), 0.34, np.nan, comparable=True) == "yes"
    assert scorecard.within((0.30, 0.33), 0.34, np.nan, comparable=True) == "no"
    assert scorecard.within((0.30, 0.33), 0.34, 0.01, comparable=True) == "yes"
    assert scorecard.within((0.30, 0.35), 0.34, 0.01, comparable=False) == "not comparable"


def test_miniature_scorecard_is_grey_and_escaped(miniature):
    frame = scorecard.scorecard(miniature, "<miniature>", simulated=True)
    page = scorecard.to_html(frame)
    assert "<miniature>" not in page
    assert "&lt;miniature&gt;" in page
    assert page.count('<tr class="grey">') == len(frame)
    assert "random_weights &amp; 100 %" in page
    assert "http" not in page
    assert "src=" not in page
    for table in (2, 3, 6, 8):
        assert f"<li>Table {table}" in page


def test_simulated_data_are_never_comparable(real):
    frame = tables.table_1(real, "miniature", simulated=True)
    assert not frame.loc[frame["source"] == "ours", "comparable"].any()
