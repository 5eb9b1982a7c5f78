"""Fetching a generator, from a Hub that is a folder."""

import hashlib
import re
import shutil
from pathlib import Path

import httpx2 as httpx
import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from huggingface_hub.hf_api import BlobLfsInfo, RepoSibling
from safetensors.torch import load_file

from boldvision import cli, config
from boldvision.errors import UserError
from boldvision.files import only_job
from boldvision.generators.base import PARTS, load_generator
from boldvision.generators.fetch import fetch

TINY = Path(__file__).parents[2] / "boldvision" / "generators" / "tiny"
REPOSITORY, REVISION = "somebody/generator", "2" * 40


class Hub:
    """A repository on disk behind the two functions of the client that are used."""

    def __init__(self, folder):
        self.folder, self.downloads, self.fails_at = folder, [], None

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            torch.save(content, path)
        else:
            path.write_bytes(content)

    def model_info(self, repository, revision, files_metadata):
        assert (repository, revision, files_metadata) == (REPOSITORY, REVISION, True)
        siblings = [self.sibling(path) for path in sorted(self.folder.rglob("*.*"))]
        return type("ModelInfo", (), {"siblings": siblings})

    def sibling(self, path):
        name, content = path.relative_to(self.folder).as_posix(), path.read_bytes()
        lfs = None
        if path.suffix in (".bin", ".safetensors"):
            lfs = BlobLfsInfo(len(content), hashlib.sha256(content).hexdigest(), 134)
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return RepoSibling(name, len(content), blob, lfs)

    def download(self, repository, name, revision, local_dir):
        assert (repository, revision) == (REPOSITORY, REVISION)
        target = local_dir / name
        if target.exists():
            return
        if name == self.fails_at:
            raise ConnectionError("line cut")
        self.downloads.append(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / name, target)
        (local_dir / ".cache").mkdir(exist_ok=True)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path / "hub")
    weights = {"layer.weight": torch.arange(6.0).reshape(2, 3).T, "layer.bias": torch.ones(2)}
    for part in ("image_unet", "vae"):
        hub.write(f"{part}/config.json", b'{"part": "%s"}' % part.encode())
        hub.write(f"{part}/diffusion_pytorch_model.bin", weights)
    hub.write("scheduler/scheduler_config.json", b"{}")
    hub.write("text_unet/diffusion_pytorch_model.bin", weights)
    monkeypatch.setattr(
        huggingface_hub.HfApi, "model_info", lambda _, *a, **k: hub.model_info(*a, **k)
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    return hub


@pytest.fixture
def out(tmp_path):
    return tmp_path / "resources" / "generator"


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_parts_are_fetched_and_pickles_become_safetensors(hub, out):
    fetch(REPOSITORY, REVISION, out)
    assert files(out) == [
        "image_unet/config.json",
        "image_unet/diffusion_pytorch_model.safetensors",
        "ledger.tsv",
        "scheduler/scheduler_config.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    tensors = load_file(out / "vae" / "diffusion_pytorch_model.safetensors")
    assert torch.equal(tensors["layer.weight"], torch.arange(6.0).reshape(2, 3).T)
    assert not list(out.parent.glob("*.partial"))


def test_of_a_dual_kind_the_text_unet_is_fetched_too(hub, out):
    command = ["generator", "--repository", REPOSITORY, "--revision", REVISION, "--out", str(out)]
    with pytest.raises(UserError, match=r"expected text_unet/config\.json, found no such file"):
        fetch(REPOSITORY, REVISION, out, "versatile_diffusion_dual")
    hub.write("text_unet/config.json", b"{}")
    assert cli.main([*command, "--kind", "versatile_diffusion_dual"]) == 0
    assert {name.partition("/")[0] for name in files(out)} == {*PARTS, "text_unet", "ledger.tsv"}
    assert (out / "text_unet" / "diffusion_pytorch_model.safetensors").exists()


def test_ledger_has_what_was_downloaded(hub, out):
    fetch(REPOSITORY, REVISION, out)
    header, *lines = (out / "ledger.tsv").read_text().splitlines()
    assert header.split("\t") == ["file", "bytes", "sha256"]
    assert [line.split("\t")[0] for line in lines] == hub.downloads
    name, size, sha256 = lines[1].split("\t")
    content = (hub.folder / name).read_bytes()
    assert (int(size), sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_safetensors_are_preferred(hub, out):
    content = b"as published"
    hub.write("vae/diffusion_pytorch_model.safetensors", content)
    fetch(REPOSITORY, REVISION, out)
    assert (out / "vae" / "diffusion_pytorch_model.safetensors").read_bytes() == content
    assert "vae/diffusion_pytorch_model.bin" not in hub.downloads


@pytest.mark.survives(
    "files",
    "A file of the generator is not the one that was published",
    "It is removed and named; the next run fetches it anew",
)
@pytest.mark.parametrize(
    ("name", "kind"),
    [("vae/diffusion_pytorch_model.bin", "sha256"), ("vae/config.json", "git blob")],
)
def test_another_file_is_refused_and_removed(hub, out, monkeypatch, name, kind):
    def download(repository, file, revision, local_dir):
        hub.download(repository, file, revision, local_dir)
        if file == name:
            (local_dir / file).write_bytes(b"{}")

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "hf_hub_download", download)
        with pytest.raises(UserError, match=rf"{name}: expected {kind} \w+, found"):
            fetch(REPOSITORY, REVISION, out)
    assert not out.exists()
    hub.downloads.clear()
    fetch(REPOSITORY, REVISION, out)
    assert name in hub.downloads
    assert (out / "vae" / "diffusion_pytorch_model.safetensors").exists()


@pytest.mark.survives(
    "patience",
    "The line is cut while a generator is fetched",
    "What was fetched is kept; the next run fetches the rest",
)
def test_interrupted_download_goes_on(hub, out):
    hub.fails_at = "scheduler/scheduler_config.json"
    with pytest.raises(UserError, match=r"line cut.*does not answer.*run again"):
        fetch(REPOSITORY, REVISION, out)
    assert not out.exists()
    hub.fails_at = None
    hub.downloads.clear()
    fetch(REPOSITORY, REVISION, out)
    assert hub.downloads == ["scheduler/scheduler_config.json"]


def test_missing_part_is_named(hub, out):
    (hub.folder / "vae" / "diffusion_pytorch_model.bin").unlink()
    with pytest.raises(UserError, match=rf"{REPOSITORY}: expected vae/diffusion_pytorch_model"):
        fetch(REPOSITORY, REVISION, out)
    assert not hub.downloads


@pytest.mark.survives(
    "files",
    "A published checkpoint is a malicious pickle",
    "It is read as tensors alone and refused; nothing in it runs",
)
@pytest.mark.parametrize("content", [{"layer": print}, {"layer": [1]}, {"nested": {}}])
def test_code_in_a_checkpoint_is_not_run(hub, out, content):
    hub.write("vae/diffusion_pytorch_model.bin", content)
    with pytest.raises(UserError, match="only tensors"):
        fetch(REPOSITORY, REVISION, out)
    assert not out.exists()


def test_what_is_fetched_can_be_loaded(hub, out):
    for part in ("image_unet", "vae"):
        state = load_file(TINY / part / "diffusion_pytorch_model.safetensors")
        hub.write(f"{part}/diffusion_pytorch_model.bin", state)
        hub.write(f"{part}/config.json", (TINY / part / "config.json").read_bytes())
    name = "scheduler/scheduler_config.json"
    hub.write(name, (TINY / name).read_bytes())
    fetch(REPOSITORY, REVISION, out)
    sizes = {"image_px": 32, "tokens": 16, "width": 32}
    loaded, shipped = (
        load_generator(config.Generator(kind="tiny", folder=str(folder), **sizes))
        for folder in (out, TINY)
    )
    for network in ("unet", "vae"):
        fetched = getattr(loaded, network).state_dict()
        for name, tensor in getattr(shipped, network).state_dict().items():
            assert torch.equal(fetched[name], tensor)


def test_stage(hub, out, capsys):
    arguments = ["--repository", REPOSITORY, "--revision", REVISION, "--out", str(out)]
    assert cli.main(["generator", *arguments]) == 0
    hub.fails_at = "vae/config.json"
    assert cli.main(["generator", *arguments]) == 1
    assert "Hugging Face Hub (line cut)" in capsys.readouterr().err
    assert (out / "ledger.tsv").exists()


def answer(kind, status):
    """What the client raises when the Hub answers with an error."""
    request = httpx.Request("GET", "https://huggingface.co/api")
    return kind(f"{status} Client Error", response=httpx.Response(status, request=request))


ANSWERS = {
    "gone": (answer(errors.RepositoryNotFoundError, 404), "correct `repository` and `revision`"),
    "revision": (answer(errors.RevisionNotFoundError, 404), "correct `repository` and `revision`"),
    "entry": (answer(errors.RemoteEntryNotFoundError, 404), "correct `repository` and `revision`"),
    "login": (answer(errors.RepositoryNotFoundError, 401), "the Hub refuses: correct `repository`"),
    "gated": (answer(errors.GatedRepoError, 403), "log in with an account that may read it"),
    "busy": (answer(errors.HfHubHTTPError, 503), "the Hub is busy or broken"),
    "silent": (ConnectionError("no route"), "the Hub does not answer"),
    "unseen": (errors.LocalEntryNotFoundError("check your connection"), "the Hub does not answer"),
    "full": (OSError(28, "No space left on device"), "the disk is full"),
}


@pytest.mark.survives(
    "patience",
    "The Hub refuses, has no such generator, is busy, or does not answer",
    "Each is said as what it is, with its own remedy",
)
@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_is_not_called_a_missing_network(hub, out, monkeypatch, kind):
    error, remedy = ANSWERS[kind]

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fails)
    with pytest.raises(UserError, match=re.escape(remedy)) as said:
        fetch(REPOSITORY, REVISION, out)
    assert ("network" in str(said.value)) == (kind in ("silent", "unseen"))


def test_offline_mode_is_named(hub, out, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    hub.fails_at = "vae/config.json"
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set: unset it"):
        fetch(REPOSITORY, REVISION, out)


@pytest.mark.survives(
    "files",
    "Files of another revision, or of a killed download, lie where a generator is fetched",
    "Only the files that are wanted are put in place",
)
def test_leftovers_are_not_put_in_place(hub, out):
    partial = out.with_name(f"{out.name}.partial")
    for name in (
        "vae/.old.part.safetensors",
        "text_unet/config.json",
        ".cache/a/b.lock",
        "old.txt",
    ):
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_text("left")
    fetch(REPOSITORY, REVISION, out)
    assert len(files(out)) == 6
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == sorted(PARTS)


def test_one_job_at_a_time_fetches(hub, out, monkeypatch):
    monkeypatch.setattr("boldvision.files.PATIENCE_S", 0)
    with only_job(out), pytest.raises(UserError, match="another job works there"):
        fetch(REPOSITORY, REVISION, out)
    assert not hub.downloads
