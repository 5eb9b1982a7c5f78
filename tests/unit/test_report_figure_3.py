import numpy as np
import pandas as pd
import pytest
from figure_data import two_subjects
from report_data import picture

from boldvision.errors import UserError
from boldvision.report.figure_3 import figure_3
from boldvision.report.ranked_pictures import RankedPictures
from boldvision.report.ranking import evenly_spaced


def columns(figure):
    """Column title: its pictures from top to bottom; a block after the other."""
    found = []
    for axes in figure.axes:
        if not axes.images:
            continue
        if axes.get_title():
            found.append((axes.get_title(), []))
        found[-1][1].append(axes.images[0].get_array())
    return found


def test_ranks_are_evenly_spaced():
    assert evenly_spaced(pd.Series(range(99)), 4) == [19, 39, 59, 79]
    assert evenly_spaced(pd.Series(range(4)), 4) == [0, 1, 2, 3]
    with pytest.raises(UserError, match="4 images wanted, 3 were reconstructed"):
        evenly_spaced(pd.Series(range(3)), 4)


def test_the_first_decoder_ranks_the_images_for_all(tmp_path):
    rows = two_subjects(tmp_path, ["Dynadiff", "Mean image"])
    figure = figure_3(RankedPictures(rows, "pixcorr", 2, blur=False, note="note"))
    assert [text.get_text() for text in figure.texts[:2]] == ["Subject 1", "Subject 2"]
    assert [title for title, _ in columns(figure)] == 2 * ["Stimulus", "Dynadiff", "Mean image"]
    stimuli = columns(figure)[0][1]
    # 18 images that both saw, the last is the best: ranks 6 and 13 are images 115 and 108
    assert np.array_equal(stimuli, [picture(115, 48), picture(108, 48)])
    labels = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert labels == ["rank 6\nof 18", "rank 13\nof 18"]
    assert "evenly spaced ranks (1: best) of Dynadiff's PixCorr" in figure.get_suptitle()


def test_every_column_shows_the_same_images(tmp_path):
    rows = two_subjects(tmp_path, ["Dynadiff", "Mean image"])
    figure = figure_3(RankedPictures(rows, "pixcorr", 2, blur=False, note="note"))
    _, *first, _, _, last = columns(figure)
    assert np.array_equal(first[0][1], [picture(1115, 32), picture(1108, 32)])
    assert np.array_equal(first[1][1], [picture(3115, 32), picture(3108, 32)])
    assert np.array_equal(last[1], first[1][1])


@pytest.mark.parametrize(("decoders", "across"), [("A", 4), ("ABC", 8), ("ABCD", 5)])
def test_a_decoder_is_a_column_and_many_stack_the_subjects(decoders, across, tmp_path):
    first, *_ = two_subjects(tmp_path)
    rows = [first | {"row": d, "subject": s} for d in decoders for s in ("subj01", "subj02")]
    figure = figure_3(RankedPictures(rows, "pixcorr", 3, blur=False, note=""))
    assert len(columns(figure)) == 2 * (1 + len(decoders))
    places = [axes.get_position() for axes in figure.axes]
    assert len({round(place.x0, 6) for place in places}) == across
    assert all(place.x0 > 0 and place.x1 < 1 and place.y0 > 0 for place in places)
    labels = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(labels) == (6 if len(decoders) > 3 else 3)


def test_only_reconstructions_are_blurred(tmp_path, monkeypatch):
    monkeypatch.setattr("boldvision.faces.blur_faces", lambda images: 0 * images)
    figure = figure_3(RankedPictures(two_subjects(tmp_path), "pixcorr", 2, blur=True, note="note"))
    assert [np.any(images) for _, images in columns(figure)] == [True, False, True, False]


@pytest.mark.survives(
    "results",
    "Two runs of figure 3 with the same row name",
    "The job stops and names both, instead of showing the second alone",
)
def test_a_column_is_one_run(tmp_path):
    rows = two_subjects(tmp_path)
    with pytest.raises(UserError, match="row 'Dynadiff': expected one model of subj01, found dyna"):
        figure_3(
            RankedPictures([*rows, rows[0] | {"run": "other"}], "pixcorr", 2, blur=False, note="")
        )
