"""Fetch a published generator from the Hugging Face Hub, at a pinned revision, and check it.

Only what :func:`boldvision.generators.base.load_generator` reads is fetched. Weights that are
published as pickles are read as tensors alone and kept as safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from boldvision.errors import UserError
from boldvision.files import atomic, machine_fault, only_job, reading, replace_folder
from boldvision.generators.base import parts

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""Names of a network's weights in diffusers, the preferred one first."""

PUBLISHED = "versatile_diffusion"


def fetch(repository: str, revision: str, out: Path, kind: str = PUBLISHED) -> None:
    """Write folder `out`: the parts of a generator, and ``ledger.tsv`` with what was downloaded.

    Files wait in ``<out>.partial`` until all are there, so a killed download goes on.

    Parameters
    ----------
    repository : str
        On the Hugging Face Hub, ``owner/name``.
    revision : str
        Commit.
    out : Path
        Folder; replaced if it exists.
    kind : str
        Of the generator, which says its parts.

    Raises
    ------
    UserError
        The Hub does not answer or refuses, a part is missing, or a file is not the one that was
        published.
    """
    partial = out.with_name(f"{out.name}.partial")
    with only_job(out):
        ledger = ["file\tbytes\tsha256"]
        files = wanted(_listed(repository, revision), repository, kind)
        for file in files:
            path = _download(repository, revision, file, partial)
            ledger.append(f"{file.rfilename}\t{path.stat().st_size}\t{checked(path, file)}")
        names = [
            to_safetensors(partial / file.rfilename)
            if file.rfilename.endswith(".bin")
            else partial / file.rfilename
            for file in files
        ]
        (partial / "ledger.tsv").write_text("\n".join(ledger) + "\n")
        _remove_others(partial, {*names, partial / "ledger.tsv"})
        replace_folder(partial, out)


def _remove_others(folder: Path, kept: set[Path]) -> None:
    """Remove pickles, notes of the Hub's client, and what was fetched of another revision."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # not empty
                path.rmdir()
        elif path not in kept:
            path.unlink()


def wanted(files: list[RepoSibling], repository: str, kind: str) -> list[RepoSibling]:
    """Configuration and weights of every part of a generator, among the files of a repository.

    Raises
    ------
    UserError
        A part is incomplete.
    """
    by_name = {file.rfilename: file for file in files}
    found = []
    for part in parts(kind):
        choices = (
            [("scheduler_config.json",)] if part == "scheduler" else [("config.json",), WEIGHTS]
        )
        for names in choices:
            name = next((f"{part}/{name}" for name in names if f"{part}/{name}" in by_name), None)
            if name is None:
                raise UserError(
                    f"{repository}: expected {part}/{' or '.join(names)}, found no such file. "
                    "Correct `repository` and `revision` of the generator."
                )
            found.append(by_name[name])
    return found


def checked(path: Path, file: RepoSibling) -> str:
    """Sha256 of a downloaded file, compared with the Hub's record of it.

    Of small files the Hub only knows git's name, the sha1 of ``blob BYTES``, a zero byte and the
    content (Pro Git, section 10.2).

    Raises
    ------
    UserError
        The file is another; it is removed.
    """
    content = path.read_bytes() if file.lfs is None else b""
    with path.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if file.lfs is not None:
        kind, expected, found = "sha256", file.lfs.sha256, sha256
    else:
        blob = b"blob %d\0%s" % (len(content), content)
        kind, expected = "git blob", file.blob_id or ""
        found = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    if found != expected:
        path.unlink()
        raise UserError(
            f"{path}: expected {kind} {expected}, found {found}. The file was removed; run again "
            "to download it anew."
        )
    return sha256


def to_safetensors(path: Path) -> Path:
    """Write the tensors of a PyTorch checkpoint as safetensors beside it; path of that file.

    Raises
    ------
    UserError
        It holds anything but tensors.
    """
    import torch
    from safetensors.torch import save_file

    with reading(path, "only tensors by name", "correct `repository` and `revision`"):
        state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {
            name: tensor.clone(memory_format=torch.contiguous_format)
            for name, tensor in state.items()
        }
    with atomic(path.with_suffix(".safetensors")) as part:
        save_file(tensors, part, metadata={"format": "pt"})
    return path.with_suffix(".safetensors")


def _listed(repository: str, revision: str) -> list[RepoSibling]:
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    except Exception as error:  # the client lets the errors of its HTTP library through
        raise _not_fetched(repository, revision, error) from error
    return info.siblings or []


def _download(repository: str, revision: str, file: RepoSibling, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(repository, file.rfilename, revision=revision, local_dir=folder)
    except Exception as error:
        raise _not_fetched(repository, revision, error) from error
    return folder / file.rfilename


def _not_fetched(repository: str, revision: str, error: Exception) -> UserError:
    """What is to be done if the Hub is not asked, does not answer, or refuses."""
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, OSError) and (fault := machine_fault(error)):
        return fault
    answer = error if isinstance(error, HfHubHTTPError) else error.__cause__
    status = answer.response.status_code if isinstance(answer, HfHubHTTPError) else 0
    if is_offline_mode():
        remedy = "HF_HUB_OFFLINE is set: unset it, or copy the folder here from elsewhere"
    elif status in (401, 403):
        remedy = "the Hub refuses: correct `repository`, or log in with an account that may read it"
    elif status in (404, 410):
        remedy = "the Hub has no such thing: correct `repository` and `revision` of the generator"
    elif status:
        remedy = "the Hub is busy or broken; what was fetched is kept: run again later"
    else:
        remedy = (
            "the Hub does not answer; what was fetched is kept: run again, or where there is a "
            "network, and copy the folder here"
        )
    return UserError(
        f"{repository} at {revision}: cannot be downloaded from the Hugging Face Hub ({error}); "
        f"{remedy}."
    )


def main(argv: list[str]) -> None:
    """Stage `generator`."""
    parser = argparse.ArgumentParser(prog="boldvision generator", description=__doc__)
    parser.add_argument("--repository", required=True, help="on the Hugging Face Hub: owner/name")
    parser.add_argument("--revision", required=True, help="commit")
    parser.add_argument("--kind", default=PUBLISHED, help="of the generator: it says the parts")
    parser.add_argument("--out", type=Path, required=True, help="folder of the generator")
    arguments = parser.parse_args(argv)
    fetch(arguments.repository, arguments.revision, arguments.out, arguments.kind)
