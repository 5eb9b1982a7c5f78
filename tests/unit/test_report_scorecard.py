"""The scorecard: every published number, and what may be said of ours."""

import numpy as np
import pandas as pd
import pytest
from report_data import FOUR, paper_rows

from boldvision.report import published, results, scorecard, scorecard_page
from boldvision.report.all_tables import AllTables
from boldvision.report.tables import published_row

ROWS = {"table": 3, "row": "LoRA on cross-attention (25M)", "metric": "clip"}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Tables 1 to 8 of real data, with the paper's networks and generator."""
    folder = tmp_path_factory.mktemp("real")
    return {
        number: results.read(paper_rows(folder / str(number), number, genuine=True, generator=""))
        for number in range(1, 9)
    }


@pytest.fixture(scope="module")
def card(real):
    return scorecard.scorecard(AllTables(real, "nsd", simulated=False, seed=0))


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """Tables 1 and 6 of two simulated subjects, with names that HTML would misread."""
    folder = tmp_path_factory.mktemp("miniature")
    two = {n: results.read(paper_rows(folder / str(n), n, subjects=FOUR[:2])) for n in (1, 6)}
    return scorecard.scorecard(AllTables(two, "<miniature>", simulated=True, seed=0))


def cell(frame, **where):
    for key, value in where.items():
        frame = frame[frame[key] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_every_published_number_is_there_once(card):
    keys = ["table", "subject", "row", "metric"]
    expected = published.tables().set_index(keys)[["value", "sem"]].sort_index()
    found = card.set_index(keys)[["published", "published_sem"]].sort_index()
    assert found.index.is_unique
    pd.testing.assert_frame_equal(found, expected.set_axis(found.columns, axis=1))


def test_ours_stand_beside_the_row_that_they_repeat(card, real):
    ours = [e for e in real[3] if published_row(3, e.row) == ROWS["row"]]
    found = cell(card, **ROWS)
    assert found["ours"] == pytest.approx(100 * np.mean([e.score("clip").value for e in ours]))
    assert found["difference"] == pytest.approx(found["ours"] - 97.45)
    assert found["low"] < found["ours"] < found["high"]
    assert "disagree with" in found["oddity"]
    one = cell(card, table=6, row="Dynadiff", subject="subj05", metric="ssim")
    (e,) = [e for e in real[6] if (e.row, e.subject) == ("Dynadiff", "subj05")]
    assert (one["ours"], one["low"], one["high"]) == e.score("ssim")[:3]


def test_other_decoders_have_no_plug_in(card):
    others = card[card["row"].isin(["WAVE", "MindEye2", "UMBRAE", "Brain-Diffuser"])]
    assert set(others["status"]) == {"no plug-in yet"}
    assert others["ours"].isna().all()
    assert set(card["status"]) == {"agrees", "disagrees", "no plug-in yet"}
    assert (card["status"] == "no plug-in yet").sum() == 40 + 56 + 150 + 150


def test_mean_over_other_subjects_is_not_compared(real):
    two = {6: [e for e in real[6] if e.subject in FOUR[:2]]}
    card = scorecard.scorecard(AllTables(two, "nsd", simulated=False, seed=0))
    mean = cell(card, row="Dynadiff", subject="mean", metric="clip")
    assert mean["status"] == "not comparable"
    assert mean["reason"] == "our mean is over 2 subjects, the published one over 4"
    ours = card[card["row"] == "Dynadiff"].groupby("subject")["status"].unique()
    assert set(ours["subj01"]) <= {"agrees", "disagrees"}
    assert list(ours["subj07"]) == ["not in this scope"]


def test_simulated_numbers_are_never_compared(miniature):
    ours = miniature[miniature["ours"].notna()]
    assert set(ours["status"]) == {"not comparable"}
    assert ours["reason"].str.contains("simulated").all()


@pytest.mark.parametrize(
    ("ours", "half", "value", "sem", "agrees"),
    [
        (0.334, 0.0, 0.34, np.nan, False),
        (0.336, 0.0, 0.34, np.nan, True),
        (0.31, 0.0, 0.34, 0.01, False),
        (0.31, 0.0, 0.34, 0.014, True),
        (0.31, 0.0196, 0.34, 0.01, True),
        (95.0, 1.96, 92.8, 0.4, False),
        (95.0, 1.96, 92.9, 0.4, True),
    ],
)
def test_agreement_is_within_both_uncertainties(ours, half, value, sem, agrees):
    assert scorecard.agrees(ours, (ours - half, ours + half), value, sem) is agrees


def test_interval_of_a_mean_draws_an_image_with_its_subjects(real):
    """Scores of one subject and their mirror image in another: their mean does not vary."""
    one, other = [e for e in real[6] if e.row == "Dynadiff"][:2]
    frames = [e.images("clip") for e in (one, other)]
    mirrored = frames[0].assign(value=1 - frames[0]["value"])

    class Fixed:
        def __init__(self, frame):
            self.frame = frame

        def images(self, metric):
            return self.frame

    low, high = scorecard.mean_interval([Fixed(frames[0]), Fixed(mirrored)], "clip", seed=0)
    assert (low, high) == (pytest.approx(50), pytest.approx(50))
    low, high = scorecard.mean_interval([Fixed(frames[0])], "clip", seed=0)
    assert high - low > 0.5


def test_page_counts_and_greys(miniature):
    page = scorecard_page.to_html(miniature)
    assert page.count('<tr class="grey"') == miniature["ours"].notna().sum() == 10 + 30
    assert page.count('<tr class="none"') == miniature["ours"].isna().sum()
    counts = "<td>250</td><td>–</td><td>–</td><td>40</td><td>20</td><td>190</td>"
    assert f'<td class="t"><b>All</b></td>{counts}' in page
    assert page.index('data-method="Dynadiff"') < page.index('data-method="WAVE"')


def test_page_is_escaped_and_needs_nothing_else(miniature, card):
    page = scorecard_page.to_html(miniature)
    assert "<miniature>" not in page
    assert "&lt;miniature&gt;" in page
    assert "random_weights &amp; 100 %" in page
    both = page + scorecard_page.to_html(card)
    assert not any(word in both for word in ("http", "src=", "@import", "url("))


def test_page_lists_the_oddities_of_its_tables(miniature, card):
    for frame in (miniature, card):
        page = scorecard_page.to_html(frame)
        expected = [o for o in published.ODDITIES if o.table in set(frame["table"])]
        assert page.count("<li>Table") == len(expected)


def test_files_are_reproducible(miniature, tmp_path):
    for place in ("a", "b"):
        scorecard_page.write(miniature, tmp_path / f"{place}.csv", tmp_path / f"{place}.html")
    for kind in ("csv", "html"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert len(pd.read_csv(tmp_path / "a.csv")) == 250
