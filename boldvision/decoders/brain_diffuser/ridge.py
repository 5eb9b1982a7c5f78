"""Regressions from windows of BOLD to latents and tokens, ready to predict."""

from __future__ import annotations

from pathlib import Path

import torch

from boldvision.decoders.artefact import write_artefact
from boldvision.decoders.base import Job, target_digests
from boldvision.decoders.brain_diffuser.dual import Spectrum, gram, spectrum
from boldvision.decoders.brain_diffuser.examples import Centred, Examples, Moments, Targets
from boldvision.decoders.brain_diffuser.predicted import KINDS
from boldvision.device import best_device
from boldvision.errors import UserError
from boldvision.training.record import versions


def main(job: Job) -> None:
    """Write what predicts any target with any penalty: no weights, but what all have in common.

    That are moments of the features, `mean` and `std` [D], and eigenvalues and eigenvectors of the
    products of all training samples, `values` [n] and `vectors` [n, n]; with the training windows
    and targets, which `decoder` reads, they are the regressions. Of each target, for the rescaling
    of predictions, moments of its training values and of predictions of training images left out.

    Raises
    ------
    UserError
        There is more than one subject, or a single image.
    """
    if len(job.data) > 1:
        raise UserError(
            f"brain_diffuser: expected one subject, whose voxels the features are, found "
            f"{len(job.data)}; say `each` for `subjects` in the runs table"
        )
    (subject,), ridge = job.data, job.run.ridge
    windows = job.windows(subject)
    examples = Examples(windows, ridge, subject.name)
    if len(examples.image_id) < 2:
        raise UserError(
            f"{subject.name}: expected several training images, found one; add sessions"
        )
    device = roomy_device(len(examples))
    fit, features = decomposed(examples, job.checkpoints, device)
    parameters = {"values": fit.values, "vectors": fit.vectors, **features._asdict()}
    for key in KINDS:
        path = subject.targets[getattr(job.run, key)]
        targets = Targets(path, key, examples.image_id)
        true, left_out = moments_of(fit, targets, getattr(ridge.alphas, key))
        found = {"mean": true.mean, "std": true.std}
        found |= {"left_out_mean": left_out.mean, "left_out_std": left_out.std}
        parameters |= {f"{key}.{name}": value for name, value in found.items()}
    record = {
        "trials": len(windows),
        "dropped_windows": windows.dropped,
        "samples": len(examples),
        "images": len(examples.image_id),
        "window": job.window.model_dump(mode="json"),
        "data": [
            subject.contents(job.run.sessions),
            *target_digests(job.run.target_names(), [subject]),
        ],
        **versions(torch.device(device)),
    }
    write_artefact(job.out, parameters, record)


def decomposed(examples: Examples, folder: Path, device: str) -> tuple[Spectrum, Moments]:
    """Eigenvectors of the products of all samples, and moments of their features.

    Finished parts are kept in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moments = examples.moments()
    products = gram(Centred(examples, moments, device), len(examples), folder)
    return spectrum(products, examples.member, folder, device), moments


def roomy_device(n: int) -> str:
    """The card if it holds some seven matrices of float64 [n, n], as the eigensolver needs."""
    device = best_device()
    if device == "cuda" and torch.cuda.mem_get_info()[0] < 7 * 8 * n**2:
        return "cpu"
    return device


def moments_of(fit: Spectrum, targets: Targets, alpha: float) -> tuple[Moments, Moments]:
    """Of a target's training values, and of their predictions without their image, float32 each.

    Both are over samples: an image that was seen three times counts three times.
    """
    n, counts = len(fit.values), fit.counts
    shares = fit.left_out(fit.per_image(), alpha)
    centre = shares.mean(0)
    spread = shares.sub_(centre).T @ shares / n
    del shares
    found = []
    for _, values in targets.blocks():
        block = values.to(fit.values)
        mean = counts @ block / n
        block -= mean
        std = (counts @ block.square() / n).sqrt()
        left_out_std = (block * (spread @ block)).sum(0).clamp(min=0).sqrt()
        found.append(torch.stack([mean, std, mean + centre @ block, left_out_std]))
    mean, std, left_out_mean, left_out_std = torch.cat(found, 1).float()
    return Moments(mean, std), Moments(left_out_mean, left_out_std)
