"""An existing copy of the bucket: where it may lie, what it may lack, and what is left alone."""

import errno
import gzip
import os
from pathlib import Path

import pytest
from copy_data import argv, write_copy
from fetch_data import SUBJECT, fetched, run

from boldvision.config import Config
from boldvision.config_docs import read_config
from boldvision.datasets.nsd import fetch, keys
from boldvision.datasets.nsd.raw import check_places, list_raw, require_apart
from boldvision.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copy(tmp_path) -> Path:
    return write_copy(tmp_path / "nsd")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """An empty folder that a workflow runs in."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture(scope="module")
def settings() -> Config:
    config = read_config([str(ROOT / "config" / "config.yaml")])
    return config.model_copy(update={"dataset": "mini2"})


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.survives(
    "results",
    "An earlier configuration, or a killed job, left other files where a folder grows",
    "Only what this job wants gets into the finished folder; the rest is removed",
)
@pytest.mark.parametrize("source", ["bucket", "copy"])
@pytest.mark.parametrize("part", ["session", "subject", "betas", "rawdata"])
def test_leftovers_are_not_promoted(part, source, copy, tmp_path, monkeypatch):
    root = tmp_path / "root"
    out = root / (keys.design_folder("subj01") if part == "subject" else "out")
    partial = out.with_name(f"{out.name}.partial")
    for name in ("design_session02_run01.tsv", ".a.tsv.0123.part", "sub-01/ses-nsd02/func/b.json"):
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_text("of another configuration")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    (partial / "link").symlink_to(tmp_path / "elsewhere")
    if source == "bucket":
        monkeypatch.setattr(fetch, "_bucket", lambda settings: Lister(copy))
        monkeypatch.setattr(fetch, "download", lambda bucket, targets: bucket.copy(targets))
    before = snapshot(copy)
    fetch.main(argv(part, root, **({} if source == "bucket" else {"raw": str(copy)})))
    numbers = {"session": 12, "subject": 14, "betas": 1, "rawdata": 12 * 3 + 2}
    assert len(fetched(out)) == numbers[part]
    assert not list(out.rglob("*nsd02*")) + list(out.rglob("*session02*"))
    assert not partial.exists()
    assert os.listdir(tmp_path / "elsewhere") == ["kept"]
    assert snapshot(copy) == before


class Lister:
    """A bucket whose objects are the files of a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def keys(self, prefix: str, below: bool = True) -> list[str]:
        return list_raw(str(self.folder), prefix, below)

    def copy(self, targets: dict[str, Path]) -> list:
        for key, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((self.folder / key).read_bytes())
        return []


DESIGN = "nsddata_timeseries/ppdata/subj01/func1pt8mm/design"
LINKS = {
    "resources/mini2": "",
    "resources": "..",
    "resources/mini2/nsddata": "nsddata",
    f"resources/mini2/{DESIGN}": DESIGN,
    "results/mini2": "nsddata_timeseries",
    "results/mini2/bold": "",
    "logs": "..",
    "resources/weights": "nsddata",
}


@pytest.mark.survives(
    "places",
    "A folder of the outputs is a symbolic link into `raw`, where Snakemake would remove files",
    "Refused when the configuration is read, and by every download; the link is named",
)
@pytest.mark.parametrize(("folder", "target"), LINKS.items())
def test_outputs_that_lead_into_the_copy(folder, target, copy, project, settings):
    (project / folder).parent.mkdir(parents=True, exist_ok=True)
    dataset = "mini2" if "/" in folder else "nsd"
    (project / folder).symlink_to(copy / target)
    before = snapshot(copy)
    config = settings.model_copy(update={"raw": str(copy), "dataset": dataset})
    with pytest.raises(UserError, match=r"where jobs (would )?write and remove files"):
        check_places(config)
    if folder.startswith("resources/mini2"):
        with pytest.raises(UserError, match=r"where jobs (would )?write and remove files"):
            fetch.main(argv("subject", project / "resources/mini2", raw=str(copy)))
    assert snapshot(copy) == before


@pytest.mark.survives(
    "places",
    "`raw` is the folder of the downloads, lies in it or around it",
    "Refused before any job runs; another dataset or another place is asked for",
)
@pytest.mark.parametrize("raw", ["resources/mini2", "resources/mini2/bucket", ".", "resources"])
def test_a_copy_in_or_around_the_downloads(raw, project, settings):
    (project / "resources/mini2/bucket").mkdir(parents=True)
    (project / "behind").symlink_to(raw)
    for name in (raw, "behind", str(project / raw)):
        with pytest.raises(UserError, match=r"raw.* where jobs (would )?write and remove files"):
            check_places(settings.model_copy(update={"raw": name}))
    with pytest.raises(UserError, match="write and remove files"):
        fetch.main(argv("experiment", project / "resources/mini2", raw=raw))


@pytest.mark.survives(
    "places",
    "A copy is made up of links to other disks, and an output leads to the same disk",
    "Refused before any job runs, like a link into the copy itself",
)
def test_a_copy_of_links(copy, tmp_path, project, settings):
    made_up = tmp_path / "made up"
    made_up.mkdir()
    (made_up / "nsddata").symlink_to(copy / "nsddata")
    config = settings.model_copy(update={"raw": str(made_up)})
    check_places(config)
    (project / "resources/mini2").mkdir(parents=True)
    (project / "resources/mini2/nsddata").symlink_to(copy / "nsddata")
    with pytest.raises(UserError, match=r"mini2/nsddata: leads to .*/nsd/nsddata, into"):
        check_places(config)
    (project / "resources/mini2/nsddata").unlink()
    (project / "resources/mini2/nsddata").mkdir()
    (made_up / "nsddata").unlink()
    (made_up / "nsddata").symlink_to(project / "resources/mini2/nsddata")
    with pytest.raises(UserError, match=r"raw: .*mini2/nsddata lies in .*resources/mini2"):
        check_places(config)


def test_links_to_other_disks_are_allowed(copy, tmp_path, project, settings, monkeypatch):
    for name in ("scratch", "scratch/results", "scratch/images"):
        (tmp_path / name).mkdir()
    (project / "results").symlink_to(tmp_path / "scratch/results")
    (project / "resources/mini2").mkdir(parents=True)
    (project / "resources/mini2/images").symlink_to(tmp_path / "scratch/images")
    (project / "resources/mini2/images/circle").symlink_to(project / "resources")
    monkeypatch.setenv("HOME", str(tmp_path))
    for raw in (str(copy), "~/nsd", "../nsd", None):
        check_places(settings.model_copy(update={"raw": raw}))
    fetch.main(argv("subject", project / "resources/mini2", raw="~/nsd"))
    assert len(fetched(project / "resources/mini2" / keys.design_folder("subj01"))) == 14


@pytest.mark.survives(
    "places",
    "`raw` does not exist, is a file, or may not be read",
    "One sentence before any job runs, with `raw` as it was written and the path that it means",
)
def test_a_copy_that_is_none(tmp_path, project, settings, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    for raw, found in {"~/gone": f"nothing at {tmp_path}/gone", "~/file": "a file at"}.items():
        with pytest.raises(UserError, match=f"raw: {raw}: expected a folder .*, found {found}"):
            check_places(settings.model_copy(update={"raw": raw}))
    with pytest.raises(UserError, match="nothing at"):
        require_apart("~nobody_of_that_name/nsd", project)

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("boldvision.datasets.nsd.raw.os.scandir", refuse)
    with pytest.raises(UserError, match="Permission denied: this account may not"):
        require_apart(str(tmp_path), project)


@pytest.mark.survives(
    "files",
    "An existing copy lacks files: runs, sessions, or the target of a link",
    "Nothing is linked; the first ten are listed with their number, and `sessions` may be lowered",
)
def test_a_copy_that_lacks_files(copy, tmp_path):
    broken = copy / keys.roi("subj01")
    broken.unlink()
    broken.symlink_to("gone")
    with pytest.raises(UserError, match=r"13 of 27 files are missing: nsddata/.*nsdgeneral") as e:
        run("subject", tmp_path / "root", None, raw=str(copy), subject=SUBJECT | {"sessions": 2})
    assert "session02_run09.tsv, and 3 more; " in str(e.value)
    assert "lower `sessions` of the subject to those that it has" in str(e.value)
    assert not fetched(tmp_path / "root")


def test_what_nobody_reads_is_not_asked_for(copy, tmp_path):
    for part in ("experiment", "subject"):
        run(part, tmp_path / "root", None, raw=str(copy))
    assert not any(
        name in path
        for path in fetched(tmp_path / "root")
        for name in ("responses.tsv", "brainmask", "stim_info")
    )


FAULTS = [errno.EACCES, errno.EAGAIN, errno.EIO, errno.ESTALE]


@pytest.mark.survives(
    "files",
    "A file of an existing copy cannot be read: mode 000, a lock, a failing disk, a lost mount",
    "The file and the cause are named; it is not called damaged, nothing is to be replaced",
)
@pytest.mark.parametrize("number", FAULTS)
@pytest.mark.parametrize("where", ["isal.igzip.open", "pathlib.Path.is_file"])
def test_what_cannot_be_read_is_not_damaged(number, where, copy, tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(where, refuse)
        with pytest.raises(UserError) as error:
            run("session", tmp_path / "root", None, raw=str(copy))
    message = str(error.value)
    assert "session01_run" in message
    assert os.strerror(number) in message
    assert not any(word in message for word in ("damaged", "replace", "download", "missing"))


@pytest.mark.survives(
    "files",
    "A file of an existing copy is damaged",
    "It is named, with what is wrong with it, before anything is computed from it",
)
def test_a_damaged_copy(copy, tmp_path):
    path = copy / keys.timeseries("subj01", 1, 7)
    path.write_bytes(gzip.compress(b"volume" * 1000)[:-9])
    with pytest.raises(UserError, match=r"run07\.nii\.gz: damaged gzip .*replace it in your copy"):
        run("session", tmp_path / "root", None, raw=str(copy))
    assert not (tmp_path / "root" / "s01").exists()


def test_a_folder_that_may_not_be_searched(copy, tmp_path, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("func"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr("boldvision.datasets.nsd.raw.os.scandir", refuse)
    with pytest.raises(UserError, match=r"ses-nsd01/func: Permission denied"):
        fetch.main(argv("rawdata", tmp_path / "root", raw=str(copy)))


@pytest.mark.survives(
    "names",
    "A listed file of an existing copy has a line break or an escape sequence in its name",
    "Refused before anything is linked; the name is shown quoted",
)
@pytest.mark.parametrize("name", ["a\nb_T1w.json", "\x1b[2J_T1w.json", "back\\slash_T1w.json"])
def test_unsafe_names_in_a_copy(name, copy, tmp_path):
    (copy / keys.raw_subject(1) / "ses-nsdanat/anat" / name).touch()
    with pytest.raises(UserError) as error:
        fetch.main(argv("rawdata", tmp_path / "root", raw=str(copy)))
    assert str(error.value).isprintable()
    assert not fetched(tmp_path / "root")


@pytest.mark.survives(
    "names",
    "Symbolic links of an existing copy form a circle, or lead nowhere",
    "Circles end; a run behind a broken link is listed as missing, links to other disks are used",
)
def test_links_in_a_copy(copy, tmp_path):
    subject = copy / keys.raw_subject(1)
    (subject / "ses-nsd01").rename(tmp_path / "other disk")
    (subject / "ses-nsd01").symlink_to(tmp_path / "other disk")
    (subject / "ses-nsd01/func/up").symlink_to(subject)
    fetch.main(argv("rawdata", tmp_path / "root", raw=str(copy)))
    assert len(fetched(tmp_path / "root" / "out")) == 12 * 3 + 2
    run_file = copy / keys.raw_run(1, 1, 3, "events.tsv")
    run_file.unlink()
    run_file.symlink_to("gone")
    with pytest.raises(UserError, match=r"1 of \d+ files are missing: .*run-03_events\.tsv"):
        fetch.main(argv("rawdata", tmp_path / "root", raw=str(copy)))
