"""The gallery's data and files; test_gallery_browser.py looks at the page."""

import importlib.util
import json
import re
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from gallery_data import (
    METRICS,
    colour,
    gallery_rows,
    stimulus_colour,
    trial_table,
    value,
    write_gallery,
)
from PIL import Image
from report_data import SHIFTS, TIMING, WINDOWS, job, write_images

from boldvision.config import Gallery
from boldvision.errors import UserError
from boldvision.report.gallery import choice, pictures
from boldvision.report.gallery.page import TEMPLATE, VALUE_UNIT, to_html


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return gallery_rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def page(rows, tmp_path_factory):
    return write_gallery(rows, tmp_path_factory.mktemp("gallery") / "gallery")


def data(folder):
    html = (folder / "index.html").read_text()
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*)</script>', html)[1]
    )


def sprite(folder, decoder, image_id):
    path = folder / decoder["folder"] / f"{image_id}.webp"
    return np.asarray(Image.open(path).convert("RGB"))


def test_subjects_and_decoders_are_those_of_the_runs_table(page):
    found = {subject: list(decoders) for subject, decoders in data(page)["subjects"].items()}
    assert found == {
        "subj01": ["General", "Specialized", "Dynadiff"],
        "subj02": ["General", "Dynadiff"],
    }


def test_windows_are_in_order_of_time(page):
    decoders = data(page)["subjects"]["subj01"]
    assert [w["shift"] for w in decoders["General"]["windows"]] == SHIFTS
    first = decoders["General"]["windows"][0]
    assert (first["start_s"], first["end_s"]) == (-8.0, 0.0)
    assert len(decoders["Dynadiff"]["windows"]) == 1


def test_specialized_shows_the_general_model_in_its_window(page):
    decoder = data(page)["subjects"]["subj01"]["Specialized"]
    assert [w["shift"] for w in decoder["windows"]] == [-1, 0, 2]


@pytest.mark.survives(
    "names",
    "Decoders of the gallery whose names differ in signs alone, or have no letters",
    "Each has a folder of pictures of its own",
)
def test_a_decoder_has_a_folder_of_its_own(rows, tmp_path):
    names = {"General": "A b", "Specialized": "A-b", "Dynadiff": "µ"}
    renamed = [row | {"row": names[row["row"]]} for row in rows]
    decoders = data(write_gallery(renamed, tmp_path / "gallery"))["subjects"]["subj01"]
    assert list(decoders) == list(names.values())
    assert len({decoder["folder"] for decoder in decoders.values()}) == 3
    assert [w["shift"] for w in decoders["A-b"]["windows"]] == [-1, 0, 2]


def test_an_image_is_shown_by_its_first_trial_of_most_windows(page):
    decoders = data(page)["subjects"]["subj01"]
    chosen = dict(zip(*(decoders["General"]["images"][k] for k in ("id", "trial")), strict=True))
    # Trial 0 begins its run, trial 14 (the same image) is the third of its run.
    assert chosen[101] == 14
    assert chosen[106] == 5
    both = decoders["Specialized"]["images"]
    assert dict(zip(both["id"], both["trial"], strict=True)) == chosen
    assert decoders["Dynadiff"]["images"]["trial"] == list(range(21, 28))  # its only trials


def test_pictures_stand_side_by_side(page):
    general = data(page)["subjects"]["subj01"]["General"]
    picture = sprite(page, general, 106)
    assert picture.shape == (16, 16 * len(SHIFTS), 3)
    for place, shift in enumerate(SHIFTS):
        assert (picture[:, 16 * place : 16 * (place + 1)] == colour(5, shift)).all()


def test_a_window_that_leaves_its_run_is_blank_and_named(page):
    general = data(page)["subjects"]["subj01"]["General"]
    # Image 111 was the last but one of a run (trial 10) and the first of another (trial 24).
    assert general["images"]["missing"]["111"] == [15]
    picture = sprite(page, general, 111)
    assert (picture[:, 15 * 16 :] == pictures.BLANK).all()
    assert (picture[:, 14 * 16 : 15 * 16] == colour(10, 6)).all()
    place = general["images"]["id"].index(111)
    own = general["images"]["values"]["ssim"][place * len(SHIFTS) :][: len(SHIFTS)]
    assert own[15] is None
    expected = [round(float(value(10, shift)) / VALUE_UNIT) for shift in SHIFTS[:15]]
    assert own[:15] == expected


def test_stimuli_and_neighbours_are_there(page):
    images = data(page)["subjects"]["subj01"]["General"]["images"]
    for key in ("id", "previous", "next"):
        for image_id in {*images[key]} - {-1}:
            stimulus = np.asarray(Image.open(page / "stimuli" / f"{image_id}.webp").convert("RGB"))
            assert (stimulus == stimulus_colour(image_id)).all()


def test_neighbours_are_of_the_same_run():
    table = choice.neighbours(trial_table(14, 2).sample(frac=1, random_state=0))
    assert table.loc[5, ["previous", "previous_s", "next", "next_s"]].tolist() == [105, 4, 107, 4]
    assert table.loc[12, ["previous", "previous_s"]].tolist() == [-1, -1]
    assert table.loc[11, ["next", "next_s"]].tolist() == [-1, -1]


def test_curves_are_the_pooled_scores(page, rows):
    general = data(page)["subjects"]["subj01"]["General"]
    assert list(general["curves"]) == METRICS
    summary = json.loads(Path(rows[0]["summary"]).read_text())["windows"]
    pooled = [summary[name]["ssim"] for name in ("main-8", "main")]
    found = general["curves"]["ssim"]
    for key in ("value", "low", "high", "chance"):
        assert [found[key][0], found[key][8]] == pytest.approx([p[key] for p in pooled], abs=1e-4)


def test_fewer_images_are_those_of_most_decoders(rows, tmp_path):
    folder = write_gallery(rows, tmp_path / "gallery", images=3)
    for decoder in data(folder)["subjects"]["subj01"].values():
        assert decoder["images"]["id"] == [108, 109, 110]
        assert len(list((folder / decoder["folder"]).iterdir())) == 3
    neighbours = {"107", "111"}  # before 108 and after 110
    assert {path.stem for path in (folder / "stimuli").iterdir()} >= neighbours


def test_one_file_per_image_and_decoder(page):
    decoders = [d for found in data(page)["subjects"].values() for d in found.values()]
    files = {str(path.relative_to(page)) for path in page.rglob("*.webp")}
    expected = {f"{d['folder']}/{i}.webp" for d in decoders for i in d["images"]["id"]}
    assert files == expected | {f"stimuli/{i}.webp" for i in range(101, 115)}


def test_the_page_says_what_the_data_are(page, rows, tmp_path):
    assert data(page)["note"] == (
        "simulated dataset miniature; tiny generator; not comparable with the paper"
    )
    real = write_gallery(rows, tmp_path / "gallery", dataset="nsd", simulated=False)
    assert "comparable" not in data(real)["note"]


@pytest.mark.survives(
    "names",
    "A name with `</script>` or `<!--` in the gallery",
    "It is text on the page and ends no element",
)
def test_no_text_ends_the_data():
    page = {"note": "</script><script>alert(1)</script><!--", "subjects": {}}
    html = to_html(page)
    assert html.count("</script>") == TEMPLATE.read_text().count("</script>")
    assert "<!--" not in html
    found = re.search(r'id="data">(.*)</script>', html)[1]
    assert json.loads(found) == page


def test_the_page_holds_no_pictures_and_needs_no_network(page):
    html = (page / "index.html").read_text()
    assert "base64" not in html
    assert set(re.findall(r"https?://[^\"'\s]+", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|script src|img src)", html)
    assert 'loading = "lazy"' in html


def test_the_page_of_1000_images_is_small(tmp_path, monkeypatch):
    rows = gallery_rows(tmp_path / "rows", n_images=1000, repetitions=1, px=2)
    monkeypatch.setattr(pictures, "_save", lambda *_: None)
    folder = write_gallery(rows, tmp_path / "gallery")
    assert len(data(folder)["subjects"]["subj01"]["General"]["images"]["id"]) == 1000
    assert (folder / "index.html").stat().st_size < 1.5e6


def test_script(rows, tmp_path):
    script = Path(__file__).parents[2] / "workflow" / "scripts" / "gallery.py"
    spec = importlib.util.spec_from_file_location("script_gallery", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    params = {
        "rows": rows,
        "windows": WINDOWS,
        "timing": asdict(TIMING),
        "dataset": "miniature",
        "simulated": True,
        "gallery": Gallery(image_px=16, images=2, metrics=METRICS).model_dump(),
        "blur_faces": True,
    }
    module.main(job(params, {"gallery": tmp_path / "gallery"}))
    assert list(data(tmp_path / "gallery")["metrics"]) == METRICS


def test_averaged_trials_have_no_trial(rows, tmp_path):
    row = next(row for row in rows if row["row"] == "Dynadiff") | {
        "reconstructions": str(tmp_path / "averaged")
    }
    ids = [108, 109]
    write_images(
        tmp_path / "averaged" / "main.h5",
        [np.zeros((16, 16, 3), np.uint8)] * 2,
        trial=[-1, -1],
        image_id=ids,
    )
    images = data(write_gallery([row], tmp_path / "gallery"))["subjects"]["subj01"]["Dynadiff"]
    assert images["images"]["id"] == ids
    for key in ("trial", "session", "previous", "next"):
        assert images["images"][key] == [-1, -1]


def test_large_pictures_are_made_smaller_and_small_ones_are_not():
    large = np.repeat(np.arange(8, dtype=np.uint8)[:, None, None, None], 128, 1)
    large = np.broadcast_to(large, (8, 128, 128, 3))
    assert pictures.resized(large, 32).shape == (8, 32, 32, 3)
    assert (pictures.resized(large, 32)[5] == 5).all()
    assert pictures.resized(large, 128) is large


def test_too_wide_a_file_is_refused(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "WIDEST_PX", 100)
    with pytest.raises(UserError, match="gallery: image_px"):
        write_gallery(rows, tmp_path / "gallery")
    assert not (tmp_path / "gallery").exists()


def test_a_missing_stimulus_is_named(rows, tmp_path):
    few = tmp_path / "few.h5"
    with h5py.File(rows[0]["stimuli"]) as file:
        write_images(few, file["images"][:5], image_id=file["image_id"][:5])
    with pytest.raises(UserError, match=r"few\.h5: expected image_id 106, found none"):
        pictures.write_stimuli(few, list(range(101, 115)), 64, tmp_path / "stimuli")


def test_faces_are_blurred_only_if_asked(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures.faces, "blur_faces", lambda images: 255 - images)
    for blur in (True, False):
        folder = write_gallery(rows, tmp_path / str(blur), images=2, blur=blur)
        pixel = sprite(folder, data(folder)["subjects"]["subj01"]["Dynadiff"], 108)[0, 0]
        shown = np.array(colour(21, 0))
        assert pixel.tolist() == (255 - shown if blur else shown).tolist()


def test_a_damaged_trial_table_is_named(tmp_path):
    rows = gallery_rows(tmp_path, n_images=2, subjects=("subj01",))
    table = Path(rows[0]["trials"])
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(UserError, match=rf"{table.name}: expected a table of trials"):
        write_gallery(rows, tmp_path / "gallery")
