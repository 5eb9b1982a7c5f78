import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_data import FOUR, LABELS, paper_rows, table_rows

from boldvision.decoders.record import OFFICIAL, write_model_record
from boldvision.errors import UserError
from boldvision.metrics.measures import MEASURES
from boldvision.report import formats, layout, published, results, tables

NUMBERS = range(1, 9)


def paper_table(folder, number, **kwargs):
    evaluations = results.read(paper_rows(folder, number, **kwargs))
    trained = {"LoRA on cross-attention": 397_312, "All layers": 860_000_000}
    return tables.table(
        number, evaluations, "miniature", simulated=True, trained=trained if number == 3 else None
    )


def columns(latex):
    """Numbers of columns of the lines of a table."""
    rows = [x for x in latex.splitlines() if x.endswith(r"\\") and not x.startswith(r"\multi")]
    return {1 + len(re.findall(r"(?<!\\)&", row)) for row in rows}


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
    frame = tables.table(1, real, "nsd", simulated=False)
    ours = number(frame, source="ours", row="Dynadiff", metric="clip")
    scores = [100 * e.score("clip").value for e in real if e.row == "Dynadiff"]
    assert ours["value"] == pytest.approx(np.mean(scores))
    assert ours["sem"] == pytest.approx(np.std(scores, ddof=0) / 2)
    assert ours["subjects"] == 4


def test_one_subject_has_no_standard_error(tmp_path):
    evaluations = results.read(table_rows(tmp_path, ["subj01"]))
    frame = tables.table(1, evaluations, "miniature", simulated=True)
    assert np.isnan(number(frame, source="ours", row="Dynadiff", metric="clip")["sem"])


def test_units_are_the_papers(real):
    frame = tables.table(6, real, "nsd", simulated=False)
    e = next(e for e in real if e.row == "Dynadiff" and e.subject == "subj05")
    where = {"source": "ours", "row": "Dynadiff", "subject": "subj05"}
    assert number(frame, metric="ssim", **where)["value"] == e.score("ssim").value
    assert number(frame, metric="miou", **where)["value"] == 100 * e.score("miou").value
    assert number(frame, metric="miou", **where)["high"] == 100 * e.score("miou").high


def test_published_rows(real):
    one = tables.table(1, real, "nsd", simulated=False)
    six = tables.table(6, real, "nsd", simulated=False)
    published = number(one, source="published", row="Brain-Diffuser", metric="clip")
    assert (published["value"], published["sem"]) == (85.36, 1.05)
    assert "arXiv:2505.14556" in published["note"]
    assert list(six["subject"].unique()) == [*FOUR, "mean"]
    assert "Brain-Diffuser" not in set(six["row"])
    wave = number(six, source="published", row="WAVE", subject="mean", metric="ssim")
    assert "ddof = 1" in wave["note"]


def test_best_is_chosen_among_comparable_rows(real, miniature):
    frame = tables.table(1, real, "nsd", simulated=False)
    chosen = frame.loc[sorted(layout.best(frame))]
    assert list(chosen[chosen["metric"] == "clip"]["source"]) == ["published"]
    assert list(chosen[chosen["metric"] == "efficientnet"]["value"].round(2)) == [0.68, 0.68]
    frame = tables.table(1, miniature, "miniature", simulated=True)
    chosen = frame.loc[sorted(layout.best(frame))]
    assert list(chosen[chosen["metric"] == "clip"]["source"]) == ["published", "ours"]
    lowest = chosen[(chosen["metric"] == "dreamsim") & (chosen["source"] == "ours")]
    assert list(lowest["row"]) == ["Dynadiff"]


def test_another_network_is_not_comparable(tmp_path):
    evaluations = results.read(table_rows(tmp_path, generator=""))
    frame = tables.table(1, evaluations, "nsd", simulated=False)
    ours = frame[frame["source"] == "ours"]
    assert set(ours.loc[~ours["comparable"], "metric"]) == set(LABELS)
    text = formats.to_markdown(layout.sheet(frame))
    assert "CLIP-12 ↑ (ours: small random ViT)" in text
    assert "NOT COMPARABLE with the published rows for the metrics of another network" in text


def test_another_generator_is_not_comparable(tmp_path):
    evaluations = results.read(table_rows(tmp_path, genuine=True, generator="random weights"))
    frame = tables.table(1, evaluations, "nsd", simulated=False)
    assert not frame.loc[frame["source"] == "ours", "comparable"].any()
    assert "NOT COMPARABLE: our rows (dataset nsd; random weights" in "".join(layout.notes(frame))


def test_official_weights_are_labelled_and_comparable(tmp_path):
    rows = table_rows(tmp_path, genuine=True, generator=OFFICIAL)
    frame = tables.table(1, results.read(rows), "nsd", simulated=False)
    ours = frame[frame["source"] == "ours"]
    assert ours["comparable"].all()
    assert set(ours["generator"]) == {OFFICIAL}


def test_markdown_has_one_cell_per_column(miniature):
    frame = tables.table(6, miniature, "miniature", simulated=True)
    bars = [x for x in formats.to_markdown(layout.sheet(frame)).splitlines() if x.startswith("|")]
    assert len(bars) == 2 + 5 * 4 + 3 * 2  # published for five subjects, ours for three
    assert {bar.count("|") for bar in bars} == {2 + 10 + 1}


def test_latex_is_well_formed(miniature):
    text = formats.to_latex(layout.sheet(tables.table(6, miniature, "miniature", simulated=True)))
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text
    assert r"random\_weights \& 100 \%" in text


def test_files_are_reproducible(miniature, tmp_path):
    frame = tables.table(1, miniature, "miniature", simulated=True)
    written = []
    for place in ("a", "b"):
        paths = {k: str(tmp_path / place / f"t.{k}") for k in ("csv", "markdown", "latex")}
        formats.write(frame, layout.sheet(frame), **paths)
        written.append([Path(p).read_bytes() for p in paths.values()])
    assert written[0] == written[1]


def test_simulated_data_are_never_comparable(real):
    frame = tables.table(1, real, "miniature", simulated=True)
    assert not frame.loc[frame["source"] == "ours", "comparable"].any()


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("subjects", [FOUR, FOUR[:2]])
def test_every_published_number_is_in_its_table(number, subjects, tmp_path):
    frame = paper_table(tmp_path, number, subjects=subjects)
    keys = ["table", "subject", "row", "metric"]
    found = frame[frame["source"] == "published"].set_index(keys)[["value", "sem"]]
    expected = published.tables().query("table == @number").set_index(keys)[["value", "sem"]]
    pd.testing.assert_frame_equal(found.sort_index(), expected.sort_index())


@pytest.mark.parametrize("number", NUMBERS)
def test_every_row_of_ours_is_in_its_table(number, tmp_path):
    rows = paper_rows(tmp_path, number)
    frame = paper_table(tmp_path, number)
    ours = frame[frame["source"] == "ours"]
    assert set(ours["row"]) == {row["row"] for row in rows}
    assert set(ours["metric"]) == set(published.metrics(number))
    per_subject = number in (6, 7, 8)
    assert set(ours["subject"]) == ({*FOUR, "mean"} if per_subject else {"mean"})
    assert list(frame.columns) == list(tables.COLUMNS)


@pytest.mark.parametrize("number", NUMBERS)
def test_only_extra_rows_have_no_published_one(number, tmp_path):
    rows = {row["row"] for row in paper_rows(tmp_path, number)}
    without = {row for row in rows if tables.published_row(number, row) is None}
    assert without == {
        1: {"Mean image"},
        6: {"Mean image"},
        7: {"Mean image"},
        8: {"Dynadiff"},
    }.get(number, set())
    assert tables.TABLES[number].reference in rows


def test_a_row_of_ours_follows_the_published_one(tmp_path):
    frame = paper_table(tmp_path, 3)
    lines = frame.drop_duplicates(["source", "row"])
    assert list(zip(lines["source"], lines["row"], strict=True))[-4:] == [
        ("published", "Frozen (0)"),
        ("ours", "Frozen"),
        ("published", "LoRA on cross-attention (25M)"),
        ("ours", "LoRA on cross-attention"),
    ]


@pytest.mark.parametrize("number", NUMBERS)
def test_text_of_every_table(number, tmp_path):
    frame = paper_table(tmp_path, number)
    sheet = layout.sheet(frame)
    markdown, latex = formats.to_markdown(sheet), formats.to_latex(sheet)
    names = 1 + (number == 3)
    assert columns(latex) == {names + len(published.metrics(number))}
    bare = re.sub(r"\\.", "", latex)
    assert bare.count("{") == bare.count("}")
    assert f"**Table {number}. {tables.TABLES[number].title}.**" in markdown
    assert rf"\caption{{{tables.TABLES[number].title}." in latex
    assert rf"\label{{tab:table-{number}}}" in latex
    for text in (markdown, latex):
        assert "standard error of the mean over subjects" in text
        assert "(published)" in text
        assert "Bold: best among comparable rows" in text
    assert "**" in markdown.split("\n\n", 1)[1]
    assert r"\textbf{" in latex
    assert re.search(r"[^\x00-\x7f]", latex) is None


def test_trained_parameters_stand_beside_the_published_ones(tmp_path):
    frame = paper_table(tmp_path, 3)
    counts = frame.drop_duplicates(["source", "row"]).set_index(["source", "row"])["parameters"]
    assert counts["published", "LoRA on cross-attention (25M)"] == 25_000_000
    assert counts["published", "Frozen (0)"] == 0
    assert counts["ours", "LoRA on cross-attention"] == 397_312
    text = formats.to_markdown(layout.sheet(frame))
    assert "| LoRA on cross-attention (25M) (published) | 25 M |" in text
    assert "| LoRA on cross-attention | 0.397 M |" in text
    assert "| All layers | 860 M |" in text
    assert "| All layers (1.1B) (published) | 1.1 B |" in text
    assert "| Frozen (0) (published) | 0 |" in text
    assert "Trained" not in formats.to_markdown(layout.sheet(paper_table(tmp_path, 2)))


def test_parameters_are_read_from_the_training_record(tmp_path):
    rows = paper_rows(tmp_path, 3, subjects=FOUR[:1])
    assert tables.trained_parameters(rows)["Frozen"] == 6000
    model = Path(rows[0]["model"]).parent
    record = model / "train" / "training.json"
    record.write_text('{"sha256": "", "parameters": {"lora": 4}}')
    write_model_record(model, "any", ["train"])
    with pytest.raises(UserError, match="unet_trained"):
        tables.trained_parameters(rows)


@pytest.mark.parametrize("number", NUMBERS)
def test_oddities_stand_below_their_table(number, tmp_path):
    said = " ".join(layout.notes(paper_table(tmp_path, number)))
    expected = [f"{o.where}: {o.text}" for o in published.ODDITIES if o.table == number]
    assert all(text in said for text in expected)
    assert said.count("As published, ") == len(expected)


@pytest.mark.parametrize(("number", "has_intervals"), [(1, False), (6, True)])
def test_intervals_are_explained_where_a_table_has_them(number, has_intervals, tmp_path):
    frame = paper_table(tmp_path, number)
    assert frame["low"].notna().any() == has_intervals
    assert (layout.INTERVAL in layout.notes(frame)) == has_intervals


def test_direction_of_a_metric_is_the_evaluations():
    lower = {name for name, measure in MEASURES.items() if measure.better == "lower"}
    assert lower == {"efficientnet", "swav", "dreamsim"}


def test_unscored_metric_is_a_dash(tmp_path):
    rows = table_rows(tmp_path, metrics=["ssim", "clip"])
    frame = tables.table(1, results.read(rows), "miniature", simulated=True)
    lines = formats.to_markdown(layout.sheet(frame)).splitlines()
    (ours,) = [line for line in lines if line.startswith("| Mean image |")]
    (paper,) = [line for line in lines if line.startswith("| WAVE (published) |")]
    assert (ours.count("–"), paper.count("–")) == (8, 0)


def test_latex_escapes():
    for character in "&%$#_{}~^":
        assert formats.escape(character).startswith("\\")
    assert formats.escape("a_b & 5 %") == r"a\_b \& 5 \%"
    assert formats.escape("±") == r"$\pm$"
    assert formats.escape("\\") == r"\textbackslash{}"
