"""Captions of images, from COCO's archive, real or simulated, to the file that targets read."""

import hashlib
import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io

from boldvision import cli
from boldvision.captions import read_captions
from boldvision.config import Coco, Design, Miniature, Subject
from boldvision.config.load import load_config
from boldvision.datasets.miniature import coco
from boldvision.datasets.miniature.bucket import write_experiment
from boldvision.datasets.miniature.scenes import caption
from boldvision.datasets.miniature.serve import serving
from boldvision.datasets.miniature.simulation import Settings, Simulation
from boldvision.datasets.nsd import annotations, captions, keys, transport
from boldvision.datasets.nsd.annotations import ARCHIVE, elements, read_captions_of
from boldvision.downloads import downloads
from boldvision.errors import UserError
from boldvision.plan import Plan
from tests.unit.config_data import NSD, values_of

REAL = Path(__file__).parents[3] / "shared" / "nsd_real" / "nsd_expdesign.mat"
DESIGN = Design(images=1650, images_per_subject=250, shared_images=50, image_px=12)
SUBJECT = Subject(number=2, sessions=1, grid=(5, 6, 6), voxels=20)
SETTINGS = Settings(miniature=Miniature(noise=0.5), subjects={"subj02": SUBJECT}, design=DESIGN)


@pytest.fixture(scope="module")
def simulation():
    return Simulation(SETTINGS)


@pytest.fixture(scope="module")
def buckets(simulation, tmp_path_factory) -> Path:
    """The simulated bucket: its experiment, and COCO's archive."""
    folder = tmp_path_factory.mktemp("captions")
    write_experiment(simulation, folder / "bucket")
    coco.write_archive(simulation, folder / "bucket")
    return folder


@pytest.fixture(scope="module")
def addresses(buckets):
    with (
        serving(buckets / "bucket", "natural-scenes-dataset") as nsd,
        serving(buckets / "bucket", "images.cocodataset.org") as images,
    ):
        yield {"stimulus_table": nsd, "annotations": images}


def fetch(part, root, address, **given) -> int:
    argv = ["fetch", part, "--settings", json.dumps(given), "--root", str(root)]
    argv += ["--ledger", str(root / f"{part}.tsv"), "--endpoint", address]
    return cli.main(argv + (["--out", str(root / "coco.zip")] if part == "annotations" else []))


def listed(place, out, table=None, subject=SUBJECT, design=DESIGN, expdesign=None) -> int:
    settings = {"design": design.model_dump(), "subject": subject.model_dump()}
    argv = ["captions", "--settings", json.dumps(settings), "--annotations", str(place)]
    argv += ["--table", str(table), "--expdesign", str(expdesign), "--out", str(out)]
    return cli.main(argv)


def content_of(said) -> dict:
    return {
        "info": {"year": 2017},
        "images": [{"id": number} for number, _ in said],
        "annotations": [
            {"image_id": number, "id": i, "caption": text} for i, (number, text) in enumerate(said)
        ],
    }


def archive_of(path, **splits) -> Path:
    """An archive as COCO's, with captions (image number, text) by split; bytes are taken as is."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for split in ("train2017", "val2017"):
            said = splits.get(split, [])
            text = said if isinstance(said, bytes) else json.dumps(content_of(said))
            archive.writestr(f"annotations/captions_{split}.json", text)
    return path


def test_the_simulated_buckets_are_fetched_and_joined_as_the_real_ones(
    simulation, buckets, addresses, tmp_path
):
    for part, address in addresses.items():
        assert fetch(part, tmp_path, address) == 0
    lines = (tmp_path / "annotations.tsv").read_text().splitlines()
    content = (buckets / "bucket" / ARCHIVE).read_bytes()
    digests = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
    assert lines[1].split("\t")[:3] == [ARCHIVE, str(len(content)), digests[0]]
    assert lines[1].split("\t")[4] == digests[1]
    table = tmp_path / keys.stim_info()
    assert keys.stim_info() in (tmp_path / "stimulus_table.tsv").read_text()
    expdesign = buckets / "bucket" / keys.expdesign()
    out = tmp_path / "subj02.parquet"
    assert listed(tmp_path / "coco.zip", out, table, expdesign=expdesign) == 0
    seen = np.unique(simulation.fields["subjectim"][1])
    expected = [caption(simulation.scenes[image - 1])[:5] for image in seen]
    assert read_captions(out, seen) == expected
    assert set(pd.read_parquet(out)["image_id"]) == set(seen)


def test_the_simulated_archive_is_the_same_every_time(simulation, buckets, tmp_path):
    coco.write_archive(simulation, tmp_path / "again")
    assert (tmp_path / "again" / ARCHIVE).read_bytes() == (
        buckets / "bucket" / ARCHIVE
    ).read_bytes()


def test_numbers_of_two_parts_of_coco_are_told_apart(tmp_path):
    archive = archive_of(tmp_path / "a.zip", train2017=[(7, "a cat")], val2017=[(7, "a dog")])
    table = pd.DataFrame(
        {"cocoId": [7, 7], "cocoSplit": ["val2017", "train2017"]}, index=pd.Index([1, 2])
    )
    found = captions.captions_of(np.array([1, 2]), table, archive)
    assert found == {1: ["a dog"], 2: ["a cat"]}


def test_five_captions_are_kept_in_their_order_and_empty_ones_are_not(tmp_path):
    said = [(3, f" {word}\n") for word in "zero one two".split()] + [(3, "  "), (4, "other")]
    said += [(3, word) for word in "three four five six".split()]
    archive = archive_of(tmp_path / "a.zip", train2017=said)
    found = read_captions_of(archive, {"train2017": {3}}, 5)
    assert found == {("train2017", 3): ["zero", "one", "two", "three", "four"]}


@pytest.mark.parametrize("where", ["", "annotations"])
def test_an_existing_folder_is_used_in_place(tmp_path, where):
    (tmp_path / where).mkdir(exist_ok=True)
    name, said = "captions_val2017.json", [(5, "a bus")]
    archive_of(tmp_path / where / "annotations_trainval2017.zip", val2017=said)
    wanted = {"val2017": {5}}
    assert read_captions_of(tmp_path, wanted, 5) == {("val2017", 5): ["a bus"]}
    (tmp_path / where / name).write_text('{"annotations": [{"image_id": 5, "caption": "plain"}]}')
    assert read_captions_of(tmp_path, wanted, 5) == {("val2017", 5): ["plain"]}


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
def test_json_in_pieces_is_the_json(monkeypatch, block):
    monkeypatch.setattr(annotations, "BLOCK", block)
    content = {
        "info": {"a": [1, {"annotations": []}]}, "licenses": [], "year": 20171,
        "annotations": [{"image_id": 12345, "caption": 'a "b" \\ ü]}'}, {"image_id": 2}],
        "z": [-1.5e3],
    }  # fmt: skip
    for text in (json.dumps(content), json.dumps(content, indent=1) + "\n"):
        assert list(elements(io.StringIO(text), "annotations")) == content["annotations"]


def test_few_annotations_are_in_memory_at_a_time(tmp_path):
    archive = archive_of(tmp_path / "a.zip", train2017=[(i, "x" * 200) for i in range(40_000)])
    tracemalloc.start()
    found = read_captions_of(archive, {"train2017": {39_999}}, 5)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 1
    assert most < 4e6  # 10 MB of text


@pytest.mark.survives(
    "results",
    "An image has no caption in COCO's files",
    "The stage stops and says how many have none, and which image of COCO the first one is",
)
def test_an_image_without_captions(tmp_path):
    archive = archive_of(tmp_path / "a.zip", train2017=[(8, "a cat"), (9, " ")])
    table = pd.DataFrame({"cocoId": [8, 9], "cocoSplit": "train2017"}, index=pd.Index([1, 2]))
    with pytest.raises(UserError, match="none of 1 of 2, the first image 2, which is 9 of train"):
        captions.captions_of(np.array([1, 2]), table, archive)


NOT_CAPTIONS = {
    "no list": b'{"images": []}',
    "more": b'{"annotations": []} {}',
    "text": b'{"annotations": ["a cat"]}',
    "endless": b'{"annotations": [], "a": "' + b" " * (1 << 20) + b'"}',
}


@pytest.mark.survives(
    "files",
    "COCO's archive of captions is cut, has flipped bits, is another, or unpacks without end",
    "The stage stops with one line that names it and what to do; no captions are written",
)
@pytest.mark.parametrize("change", ["bit", "cut", "html", "gone", "other", "bomb", *NOT_CAPTIONS])
def test_archives_that_are_not(tmp_path, monkeypatch, change):
    said = NOT_CAPTIONS.get(change, [(i, f"{i} cats") for i in range(900)])
    path = archive_of(tmp_path / "a.zip", train2017=said)
    content = path.read_bytes()
    if change == "bit":
        path.write_bytes(content[:3000] + bytes([content[3000] ^ 1]) + content[3001:])
    if change in ("cut", "html"):
        path.write_bytes(content[:-900] if change == "cut" else b"<html>sign in</html>")
    if change in ("gone", "other"):
        path.unlink()
    if change == "other":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other.txt", "nothing")
    if change == "bomb":
        monkeypatch.setattr(annotations, "LARGEST_FILE", 1000)
    monkeypatch.setattr(annotations, "LARGEST_VALUE", 1 << 18)
    with pytest.raises(UserError, match=r"a\.zip: expected COCO's captions") as error:
        read_captions_of(path, {"train2017": {899}}, 5)
    assert "coco.folder" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.survives(
    "files",
    "The table of NSD's images is cut, of another experiment, or names an unknown part of COCO",
    "The stage stops with one line that names the table and what is wrong with it",
)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("cut", "9 lines"),
        ("another", "12 lines"),
        ("twice", "10 lines"),
        ("split", "'test2017'"),
        ("column", "cocoSplit"),
        ("html", "header fields"),
    ],
)
def test_stimulus_tables_that_are_not(tmp_path, change, found):
    table = pd.DataFrame({"nsdId": range(12), "cocoId": range(12), "cocoSplit": "train2017"})
    table = table[: {"cut": 9, "another": 12}.get(change, 10)]
    if change == "twice":
        table.loc[3, "nsdId"] = 2
    if change == "split":
        table.loc[3, "cocoSplit"] = "test2017"
    if change == "column":
        table = table.drop(columns="cocoSplit")
    path = tmp_path / "stim_info.csv"
    table.to_csv(path)
    if change == "html":
        path.write_text("<html>\n<p>, sign in</p>")
    with pytest.raises(UserError, match=rf"stim_info.csv: expected .*{found}"):
        captions.read_stimulus_table(path, 10)


def test_image_ids_are_one_more_than_nsd_ids(tmp_path):
    table = pd.DataFrame({"nsdId": [2, 0, 1], "cocoId": [30, 10, 20], "cocoSplit": "val2017"})
    table.to_csv(tmp_path / "table.csv")
    found = captions.read_stimulus_table(tmp_path / "table.csv", 3)
    assert found.loc[[1, 2, 3], "cocoId"].tolist() == [10, 20, 30]


@pytest.mark.survives(
    "networks",
    "COCO's archive is not the one whose sha256 the configuration names",
    "It is removed, and the error gives both digests",
)
def test_another_archive_than_the_pinned_one(addresses, tmp_path, capsys):
    pinned = {"sha256": "0" * 64}
    assert fetch("annotations", tmp_path, addresses["annotations"], coco=pinned) == 1
    assert f"expected sha256 {'0' * 64}, found" in capsys.readouterr().err
    assert not (tmp_path / "coco.zip").exists()
    assert not (tmp_path / "annotations.tsv").exists()


@pytest.mark.survives(
    "networks",
    "COCO's server does not answer",
    "After eight tries, or four at a wrong address, the job stops; the error speaks of `coco`",
)
def test_no_server_of_coco(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transport, "BACKOFF_S", 0.001)
    assert fetch("annotations", tmp_path, "http://127.0.0.1:9") == 1
    message = capsys.readouterr().err
    assert "images.cocodataset.org" in message
    assert "`coco" in message
    assert "`s3" not in message


@pytest.mark.survives(
    "jobs",
    "The download of COCO's archive is killed half-way",
    "The next goes on where it stopped; what it brings is compared with the server's checksum",
)
def test_the_archive_is_resumed(addresses, buckets, tmp_path, monkeypatch):
    from boldvision.datasets.nsd.s3 import Bucket

    content, whole, asked = (buckets / "bucket" / ARCHIVE).read_bytes(), Bucket.stream, []

    def cut(self, remote, start=0, stop=None):
        asked.append(start)
        if len(asked) == 1:
            yield next(whole(self, remote, 0, 5000))
            raise KeyboardInterrupt
        yield from whole(self, remote, start, stop)

    monkeypatch.setattr(Bucket, "stream", cut)
    with pytest.raises(KeyboardInterrupt):
        fetch("annotations", tmp_path, addresses["annotations"])
    assert not (tmp_path / "coco.zip").exists()
    assert fetch("annotations", tmp_path, addresses["annotations"]) == 0
    assert asked == [0, 5000]
    assert (tmp_path / "coco.zip").read_bytes() == content


def test_cocos_bucket_is_asked_for_over_https_by_path():
    """Its name has dots, so it is no name of a host that AWS's certificate vouches for."""
    client = transport.anonymous_client(Coco())
    where = {"Bucket": Coco().bucket, "Key": ARCHIVE}
    url = client.generate_presigned_url("get_object", where)
    assert url == f"https://s3.us-east-1.amazonaws.com/images.cocodataset.org/{ARCHIVE}"


@pytest.mark.parametrize("folder", [None, "/data/coco"])
def test_captions_are_downloaded_where_a_target_reads_them(folder):
    values = values_of(NSD)
    values["coco"] |= {"folder": folder}
    plan = Plan(load_config(values))
    captioned = any(
        plan.config.target(name).captions
        for run in plan.config.run_names
        for name in plan.config.run(run).target_names()
    )
    found = downloads(plan, "paper")
    assert (plan.paths.stimulus_table in found) is captioned
    assert (plan.paths.annotations in found) is (captioned and folder is None)


@pytest.mark.skipif(not REAL.exists(), reason="needs NSD's own nsd_expdesign.mat")
def test_the_genuine_design(tmp_path):
    design, subject = Design(), Subject(number=1, sessions=40, grid=(81, 104, 83), voxels=15724)
    numbers = np.arange(73000)[::-1]
    table = pd.DataFrame({"nsdId": range(73000), "cocoId": numbers, "cocoSplit": "train2017"})
    table.to_csv(tmp_path / "table.csv")
    said = [(int(number), f"number {number}") for number in numbers]
    archive = archive_of(tmp_path / "a.zip", train2017=said)
    out = tmp_path / "out.parquet"
    assert listed(archive, out, tmp_path / "table.csv", subject, design, REAL) == 0
    fields = scipy.io.loadmat(REAL)
    seen = np.unique(fields["subjectim"][0].astype(int))
    assert len(seen) == 10_000
    expected = [[f"number {73000 - image}"] for image in seen.tolist()]
    assert read_captions(out, seen) == expected
