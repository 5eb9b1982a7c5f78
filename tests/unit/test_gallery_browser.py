"""The gallery in headless Chromium: what is shown, keys, address, loading."""

import re
import shutil

import numpy as np
import pytest
from browser import Browser
from gallery_data import colour, gallery_rows, stimulus_colour, write_gallery
from report_data import SHIFTS

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="needs Debian's packages chromium and chromium-driver"
)
LOADED = "return [...document.querySelectorAll('#thumbnails img')].filter(i => i.naturalWidth)"
ADDRESS = "return Object.fromEntries(new URLSearchParams(location.hash.slice(1)))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(CHROMEDRIVER, CHROMIUM, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return write_gallery(gallery_rows(folder / "rows"), folder / "gallery") / "index.html"


@pytest.fixture(autouse=True)
def no_errors(browser):
    yield
    assert browser.errors() == []


def text(browser, name):
    return browser.run(f"return document.getElementById('{name}').textContent")


def address(browser):
    return browser.run(ADDRESS)


def marker_s(browser):
    """Time at which the marker stands on the axis, which goes from 0 to 20 s."""
    x = browser.run("return Number(document.getElementById('marker').getAttribute('x1'))")
    left, right = 0.07 * 780, 0.99 * 780
    return 20 * (x - left) / (right - left)


def shown(browser, name="#reconstruction"):
    """Colour in the middle of a picture."""
    picture = browser.picture(name)
    return tuple(picture[picture.shape[0] // 2, picture.shape[1] // 2].tolist())


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    rows = gallery_rows(folder / "rows", n_images=1000, repetitions=1, subjects=["subj01"])
    general = [row for row in rows if row["row"] == "General"]
    return write_gallery(general, folder / "gallery") / "index.html"


def test_1000_images_are_ready_within_a_second(browser, large):
    ready_ms = []
    for _ in range(3):
        browser.open(large)
        ready_ms.append(int(browser.run("return document.documentElement.dataset.readyMs")))
    print(f"ready after {ready_ms} ms")
    assert browser.run("return document.querySelectorAll('#thumbnails img').length") == 1000
    assert min(ready_ms) < 1000


def test_thumbnails_are_loaded_when_they_are_near(browser, large):
    browser.open(large)
    browser.run("document.getElementById('thumbnails').scrollTop = 0")
    loaded = browser.run(f"{LOADED}.length")
    assert 24 <= loaded < 700
    last = "document.querySelector('#thumbnails button:last-child img')"
    assert browser.run(f"return {last}.naturalWidth") == 0
    browser.press("up")  # from the first image to the last
    assert address(browser)["image"] == "1100"
    browser.run(f"return {last}.decode()")
    assert browser.run(f"return {last}.naturalWidth") > 0


@pytest.mark.parametrize("shift", [-8, -1, 0, 7])
def test_the_address_chooses_the_window(browser, page, shift):
    browser.open(page, f"#subject=subj01&decoder=General&image=106&shift={shift}")
    assert shown(browser) == colour(5, shift)
    assert shown(browser, "#stimulus") == stimulus_colour(106)
    assert marker_s(browser) == pytest.approx((8 + shift) * 4 / 3, abs=0.1)
    assert re.search(r"^Window from .* to .* s after image onset", text(browser, "window"))
    assert text(browser, "split") == "time-resolved split"


def test_a_new_address_on_the_open_page_is_followed(browser, page):
    browser.open(page, "#subject=subj01&image=106&shift=0")
    browser.run("location.hash = '#subject=subj01&image=107&shift=3'")
    browser.run("return new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    assert shown(browser) == colour(6, 3)


def test_a_wrong_address_shows_the_first_picture(browser, page):
    browser.open(page, "#subject=nobody&decoder=<b>&image=x&shift=y&metric=z")
    found = address(browser)
    assert (found["subject"], found["decoder"], found["metric"]) == (
        *("subj01", "General", "alexnet_2"),
    )


def test_left_and_right_move_the_window(browser, page):
    browser.open(page, "#subject=subj01&image=106")
    browser.press("right", "right")
    assert shown(browser) == colour(5, 2)
    assert marker_s(browser) == pytest.approx(10 * 4 / 3, abs=0.1)
    browser.press(*["left"] * 20)
    assert address(browser)["shift"] == "-8"
    assert shown(browser) == colour(5, -8)


def test_keys_work_on_the_slider_too(browser, page):
    browser.open(page, "#subject=subj01&decoder=Specialized&image=106&shift=0")
    browser.run("document.getElementById('shift').focus()")
    browser.press("right")
    assert address(browser)["shift"] == "2"  # the next window that has a model
    browser.press("left", "left", "down")
    assert (address(browser)["shift"], address(browser)["image"]) == ("-1", "107")
    assert shown(browser) == colour(6, -1)


def test_the_slider_moves_the_window(browser, page):
    browser.open(page, "#subject=subj01&image=106")
    drag = "const s = document.getElementById('shift'); s.value = 4.1; s.oninput({target: s})"
    browser.run(drag)  # 4.1 s is nearest to the window that ends at 4 s
    assert address(browser)["shift"] == "-5"
    assert shown(browser) == colour(5, -5)
    assert browser.run("return document.getElementById('shift').value") == "4"


@pytest.mark.parametrize(("keys", "image"), [("n", 107), ("p", 105), (["down"], 107)])
def test_keys_move_the_image(browser, page, keys, image):
    browser.open(page, "#subject=subj01&image=106")
    browser.press(*keys)
    assert address(browser)["image"] == str(image)
    assert shown(browser, "#stimulus") == stimulus_colour(image)
    current = "return document.querySelector('#thumbnails [aria-current]').ariaLabel"
    assert browser.run(current) == f"Image {image}"


def test_a_thumbnail_is_clicked(browser, page):
    browser.open(page, "#subject=subj01")
    browser.click("#thumbnails button:nth-child(4)")
    assert shown(browser, "#stimulus") == stimulus_colour(104)


def test_keys_choose_subject_decoder_and_metric(browser, page):
    browser.open(page, "#subject=subj01&image=109&shift=2")
    browser.press("d", "m")
    assert address(browser)["decoder"] == "Specialized"
    assert address(browser)["metric"] == "ssim"
    assert text(browser, "scores").startswith("SSIM")
    browser.press("s")  # the other subject has no such decoder
    assert (address(browser)["subject"], address(browser)["decoder"]) == ("subj02", "General")
    assert shown(browser) == colour(8, 2)


def test_keys_in_a_menu_are_the_menus(browser, page):
    browser.open(page, "#subject=subj01&metric=ssim&image=106")
    browser.run("document.getElementById('decoder').focus()")
    browser.press("m", "n")
    assert (address(browser)["metric"], address(browser)["image"]) == ("ssim", "106")


def test_a_decoder_of_one_window_has_no_slider(browser, page):
    hidden = "return getComputedStyle(document.getElementById('shift')).display"
    browser.open(page, "#subject=subj01&decoder=Dynadiff&image=110&shift=3")
    assert browser.run(hidden) == "none"
    assert shown(browser) == colour(23, 0)
    browser.open(page, "#subject=subj01&decoder=General&image=110&shift=3")
    assert browser.run(hidden) != "none"


def test_a_window_that_leaves_its_run_says_so(browser, page):
    browser.open(page, f"#subject=subj01&image=111&shift={SHIFTS[-1]}")
    assert "leaves the run" in text(browser, "reconstruction")
    assert "this image none" in text(browser, "scores")
    browser.press("left")
    assert text(browser, "reconstruction") == ""
    assert shown(browser) == colour(10, 6)


def test_scores_are_those_of_the_image(browser, page):
    browser.open(page, "#subject=subj01&image=106&shift=3&metric=ssim")
    assert re.search("this image 0.535; all images .*; chance 0.050", text(browser, "scores"))


def test_focus_is_visible_and_reaches_every_control(browser, page):
    browser.open(page)
    browser.run("document.body.focus()")
    seen = []
    for _ in range(7):
        browser.press("tab")
        seen.append(
            browser.run("return document.activeElement.id || document.activeElement.ariaLabel")
        )
        outline = "return getComputedStyle(document.activeElement).outlineStyle"
        assert browser.run(outline) == "solid", seen
    assert seen == ["previous", "next", "Image 101", "subject", "decoder", "metric", "shift"]


def test_everything_is_on_a_laptop_screen(browser, page):
    browser.open(page)
    wide, high = browser.run("const e = document.documentElement;"
                             "return [e.scrollWidth, e.scrollHeight]")  # fmt: skip
    assert wide <= 1280
    assert high <= 800
    assert np.asarray(browser.picture("#plot")).std() > 5
