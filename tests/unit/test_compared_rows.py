"""Rows of compared decoders: in tables, figure 3, gallery, scorecard and plan."""

import numpy as np
import pytest
from config_data import DEFAULT, NSD, ROOT
from gallery_data import gallery_rows, write_gallery
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_data import FOUR, evaluation

from boldvision import costs, plugins
from boldvision.config.load import load_config
from boldvision.config_docs import read_values
from boldvision.decoders.brain_diffuser.cost import DOUBLE
from boldvision.decoders.brain_diffuser.decoder import ADAPTED as CHOSEN
from boldvision.decoders.record import ADAPTED
from boldvision.plan import Plan
from boldvision.report import formats, layout, results, scorecard, scorecard_page, tables
from boldvision.report.all_tables import AllTables
from boldvision.report.pictures import picture_grid
from boldvision.speeds import Speeds

CHOICE = CHOSEN["flatten"]
TINY = {
    "Dynadiff": "tiny generator",
    "Brain-Diffuser": f"{CHOICE}; tiny dual generator",
    "MindEye1": "tiny generator; tiny clip",
    "Mean image": "",
}
SHOWN = [f"{row} ({label})" for row, label in TINY.items() if label]
REAL = {row: CHOICE if row == "Brain-Diffuser" else "" for row in TINY}


def evaluations(folder, labels, subjects=FOUR, **kwargs):
    return results.read(
        [
            evaluation(folder, row, subject, generator=label, level=0.7, **kwargs)
            for row, label in labels.items()
            for subject in subjects
        ]
    )


@pytest.fixture(scope="module")
def real(folder):
    """Of real data, with the paper's networks and weights."""
    return evaluations(folder / "real", REAL, genuine=True)


@pytest.fixture(scope="module")
def miniature(folder):
    return evaluations(folder / "miniature", TINY, FOUR[:2])


def test_labels_are_named_by_row_unless_all_rows_share_one():
    assert results.labels_of([("A", "tiny"), ("B", ""), ("C", "tiny")]) == ["tiny"]
    assert results.labels_of([("A", "tiny"), ("B", "random")]) == ["A (tiny)", "B (random)"]
    assert results.labels_of([("A", f"{ADAPTED} to x"), ("B", "")]) == [f"A ({ADAPTED} to x)"]


def test_a_table_says_what_each_row_s_weights_are(miniature):
    frame = tables.table(1, miniature, "miniature", simulated=True)
    text = formats.to_markdown(layout.sheet(frame))
    for shown in SHOWN:
        assert shown in layout.notes(frame)[0]
        assert shown in text


def test_figure_3_and_gallery_say_so_too(miniature, tmp_path):
    note = results.data_note(miniature, "miniature", simulated=True)
    assert note == (
        f"simulated dataset miniature; {'; '.join(SHOWN)}; not comparable with the paper"
    )
    rows = gallery_rows(tmp_path)
    folder = write_gallery(rows, tmp_path / "gallery")
    shown = results.data_note(results.read(rows), "miniature", simulated=True)
    assert shown in (folder / "index.html").read_text()


def test_our_adaptation_is_said_and_compares_with_the_published_row(real):
    frame = tables.table(1, real, "nsd", simulated=False)
    assert frame["comparable"].all()
    assert layout.notes(frame)[0] == f"Brain-Diffuser ({CHOICE})."
    beside = frame.loc[frame["subject"] == "mean", ["row", "source"]].drop_duplicates()
    for row in ("Dynadiff", "Brain-Diffuser", "MindEye1"):
        assert list(beside.loc[beside["row"] == row, "source"]) == ["published", "ours"]


def test_other_weights_beside_an_adaptation_do_not_compare(folder):
    labels = {"Brain-Diffuser": f"{CHOICE}; random weights"}
    frame = tables.table(1, evaluations(folder / "random", labels, genuine=True), "nsd", False)
    assert not frame.loc[frame["source"] == "ours", "comparable"].any()


def test_the_scorecard_takes_rows_up_by_their_names(real):
    card = scorecard.scorecard(AllTables({1: real, 6: real}, "nsd", simulated=False, seed=0))
    for row in ("Brain-Diffuser", "MindEye1"):
        assert set(card.loc[card["row"] == row, "status"]) <= {"agrees", "disagrees"}
    assert set(card.loc[card["row"] == "MindEye2", "status"]) == {"no plug-in yet"}
    page = scorecard_page.to_html(card)
    assert f"Generator: <b>Brain-Diffuser ({CHOICE})</b>" in page


def test_a_long_note_does_not_reach_the_pictures():
    pictures = [np.zeros((8, 8, 3), np.uint8)]
    blocks = {"Subject 1": {"Stimulus": pictures, "Dynadiff": pictures}}
    figure = picture_grid(blocks, [""], "\n".join(f"line {k}" for k in range(6)))
    renderer = FigureCanvasAgg(figure).get_renderer()
    lowest = figure._suptitle.get_window_extent(renderer).y0
    assert lowest >= figure.texts[0].get_window_extent(renderer).y1


# What they cost on NSD


@pytest.fixture(scope="module")
def nsd():
    with pytest.MonkeyPatch.context() as at:
        at.chdir(ROOT)
        yield Plan(load_config(read_values([DEFAULT, NSD])))


def test_targets_of_compared_decoders_are_counted(nsd):
    named = {
        n for run in ("brain_diffuser", "mindeye1") for n in nsd.config.run(run).target_names()
    }
    sizes = {"clip_image": 257 * 768, "clip_text": 77 * 768, "vdvae": 91_168}
    assert named == {*sizes, "sd_latents"}
    start = nsd.config.costs.job_s / 3600
    for name in named:
        piece = costs._target(nsd, name, "subj01", Speeds(nsd, measured=False))
        assert piece.bytes == 10_000 * sizes.get(name, 2 * 4 * 64 * 64) * 2
        assert piece.hours.most > start


def test_the_ridge_is_counted(nsd):
    [work] = costs.training(nsd, costs.Model("brain_diffuser", "subj01", "main", 0)).values()
    n, columns = 27_000, 91_168 + (257 + 77) * 768
    fit = n**2 * 94_344 + 9 * n**3
    without_an_image = 3 * 2 * n * 9000 * (n + 9000) + 2 * 9000**2 * columns
    assert work.bytes == 8 * n**2
    assert work.teraflop == pytest.approx(DOUBLE * (fit + without_an_image) / 1e12)


def test_the_prior_is_counted_in_training_and_for_each_candidate(nsd):
    model = costs.Model("mindeye1", "subj01", "main", 0)
    work = costs.training(nsd, model)
    assert work["high_level"].samples == 66_240 * 32
    assert work["low_level"].samples == 132_840 * 8
    assert work["high_level"].bytes == 4 * (1_269_607_424 + 56_055_184)
    assert work["high_level"].teraflop == pytest.approx(0.37, rel=0.1)
    run = nsd.config.run("mindeye1")
    cost = plugins.defined("decoders", "mindeye1", "cost", "picture")

    def picture(candidates, steps=100):
        how = run.reconstruction.model_copy(update={"candidates": candidates})
        prior = run.high_level.prior.model_copy(update={"steps": steps})
        high = run.high_level.model_copy(update={"prior": prior})
        changed = run.model_copy(update={"reconstruction": how, "high_level": high})
        return cost(changed, costs._sizes(nsd.config, run)).teraflop

    assert picture(16) == costs.picture(nsd, "mindeye1").teraflop
    assert picture(3) - picture(2) == pytest.approx(36, rel=0.1)
    assert picture(2) - picture(2, steps=50) == pytest.approx(2 * 50 * 0.057, rel=0.1)
