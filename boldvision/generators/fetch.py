"""Fetch a published generator from the Hugging Face Hub, at a pinned revision, and check it.

Only what :func:`boldvision.generators.base.load_generator` reads is fetched. Weights that are
published as pickles are read as tensors alone and kept as safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from boldvision.errors import UserError
from boldvision.files import atomic, replace_folder
from boldvision.generators.base import PARTS

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
"""Names of a network's weights in diffusers, the preferred one first."""


def fetch(repository: str, revision: str, out: Path) -> None:
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

    Raises
    ------
    UserError
        The Hub does not answer, a part is missing, or a file is not the one that was published.
    """
    partial = out.with_name(f"{out.name}.partial")
    ledger = ["file\tbytes\tsha256"]
    files = wanted(_listed(repository, revision), repository)
    for file in files:
        path = _download(repository, revision, file, partial)
        ledger.append(f"{file.rfilename}\t{path.stat().st_size}\t{checked(path, file)}")
    pickles = [partial / file.rfilename for file in files if file.rfilename.endswith(".bin")]
    for path in pickles:
        to_safetensors(path)
    for path in pickles:
        path.unlink()
    (partial / "ledger.tsv").write_text("\n".join(ledger) + "\n")
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # of the Hub's client
    replace_folder(partial, out)


def wanted(files: list[RepoSibling], repository: str) -> list[RepoSibling]:
    """Configuration and weights of every part of a generator, among the files of a repository.

    Raises
    ------
    UserError
        A part is incomplete.
    """
    by_name = {file.rfilename: file for file in files}
    found = []
    for part in PARTS:
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


def to_safetensors(path: Path) -> None:
    """Write the tensors of a PyTorch checkpoint as safetensors beside it.

    Raises
    ------
    UserError
        It holds anything but tensors.
    """
    import pickle

    import torch
    from safetensors.torch import save_file

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: expected only tensors, found something else ({error})") from None
    with atomic(path.with_suffix(".safetensors")) as part:
        tensors = {
            name: tensor.clone(memory_format=torch.contiguous_format)
            for name, tensor in state.items()
        }
        save_file(tensors, part, metadata={"format": "pt"})


def _listed(repository: str, revision: str) -> list[RepoSibling]:
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
    except Exception as error:  # the client lets the errors of its HTTP library through
        raise _unreachable(repository, revision, error) from error
    return info.siblings or []


def _download(repository: str, revision: str, file: RepoSibling, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(repository, file.rfilename, revision=revision, local_dir=folder)
    except Exception as error:
        raise _unreachable(repository, revision, error) from error
    return folder / file.rfilename


def _unreachable(repository: str, revision: str, error: Exception) -> UserError:
    return UserError(
        f"{repository} at {revision}: cannot be downloaded from the Hugging Face Hub ({error}). "
        "This stage needs a network; what it has fetched is kept. Run it again, or where there is "
        "one, and copy the folder here."
    )


def main(argv: list[str]) -> None:
    """Stage `generator`."""
    parser = argparse.ArgumentParser(prog="boldvision generator", description=__doc__)
    parser.add_argument("--repository", required=True, help="on the Hugging Face Hub: owner/name")
    parser.add_argument("--revision", required=True, help="commit")
    parser.add_argument("--out", type=Path, required=True, help="folder of the generator")
    arguments = parser.parse_args(argv)
    fetch(arguments.repository, arguments.revision, arguments.out)
