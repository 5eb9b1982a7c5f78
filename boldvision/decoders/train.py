"""Train a decoder on one or several subjects."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pydantic import TypeAdapter

from boldvision import config
from boldvision.cli import settings_from
from boldvision.decoders.base import SubjectData, digest, implementation
from boldvision.errors import UserError
from boldvision.files import only_job, replace_folder, sha256
from boldvision.training import environment


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the data of the subjects are, one value per subject, in the same order."""
    parser.add_argument(
        "--settings", required=True, help="JSON: run, generator, preprocessing, window(s)"
    )
    parser.add_argument("--subjects", nargs="+", required=True)
    parser.add_argument("--trials", nargs="+", type=Path, required=True, help="trial tables")
    parser.add_argument("--images", nargs="+", type=Path, default=[], help="images")
    parser.add_argument("--bold", nargs="+", type=Path, default=[], help="folders of clean series")
    parser.add_argument("--latents", nargs="+", type=Path, default=[], help="latent caches")
    parser.add_argument("--seed", type=int, default=0)


def subject_data(arguments: argparse.Namespace, settings: dict) -> list[SubjectData]:
    """Data of each subject; what was not given is `None`.

    Raises
    ------
    SystemExit
        A list is as long as neither the subjects nor zero.
    """
    preprocessing = TypeAdapter(config.Preprocessing).validate_python(settings["preprocessing"])
    columns = {}
    for name in ("trials", "images", "bold", "latents"):
        values = getattr(arguments, name)
        columns[name] = values or [None] * len(arguments.subjects)
        if len(columns[name]) != len(arguments.subjects):
            raise SystemExit(
                f"--{name}: {len(values)} values for {len(arguments.subjects)} subjects"
            )
    return [
        SubjectData(
            name,
            preprocessing=preprocessing,
            **{column: values[i] for column, values in columns.items()},
        )
        for i, name in enumerate(arguments.subjects)
    ]


def run_settings(
    settings: dict, job: dict | None = None
) -> tuple[config.Run, config.Generator | None]:
    """The run and its generator, validated; `job` is more of the run's training."""
    values = settings["run"]
    if job:
        values = values | {"training": values["training"] | job}
    run = TypeAdapter(config.Run).validate_python(values)
    generator = settings.get("generator")
    return run, None if generator is None else config.Generator(**generator)


def start_digest(run: config.Run, pretrained: Path | None) -> str | None:
    """Digest of the model file that a run starts from, if it does.

    Raises
    ------
    UserError
        The run starts from a model and none is given, or the other way round; or it is missing.
    """
    if (pretrained is None) == (getattr(run, "pretrained", None) is not None):
        raise UserError(
            "--pretrained: expected a model file if, and only if, `pretrained` of the run names a "
            f"model; found {pretrained}. Give both or neither."
        )
    if pretrained is None:
        return None
    if not pretrained.is_file():
        raise UserError(f"{pretrained}: expected the model to start from, found no file; train it")
    return sha256(pretrained)


def main(argv: list[str]) -> None:
    """Stage `train`: writes folder ``--out``.

    A killed job goes on from ``<out>.checkpoint``, if seed, subjects, their data, the model it
    started from and all settings are the same. One job at a time works on ``--out``.
    """
    parser = argparse.ArgumentParser(prog="boldvision train", description=__doc__)
    add_data_arguments(parser)
    parser.add_argument(
        "--job", default="{}", help="JSON: settings of training that do not change the model"
    )
    parser.add_argument("--pretrained", type=Path, help="model.safetensors to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    arguments = parser.parse_args(argv)
    environment.believe_launcher()
    work = arguments.out.with_name(f"{arguments.out.name}.checkpoint")
    if not environment.is_main_process():
        return _train(arguments, work)
    with only_job(arguments.out):
        _train(arguments, work)
        replace_folder(work / "model", arguments.out)
        shutil.rmtree(work)


def _train(arguments: argparse.Namespace, work: Path) -> None:
    """Write the model to ``work/model``, if this is the main process; the others help it."""
    settings = settings_from(arguments.settings)
    run, generator = run_settings(settings, settings_from(arguments.job))
    data = subject_data(arguments, settings)
    contents = [subject.contents(getattr(run, "sessions", None)) for subject in data]
    start = start_digest(run, arguments.pretrained)
    finished = work / "model"
    finished.mkdir(parents=True, exist_ok=True)
    implementation(run.decoder).train(
        run=run,
        generator=generator,
        data=data,
        window=config.Window(**settings["window"]),
        seed=arguments.seed,
        out=finished,
        checkpoints=work / digest(settings, arguments.subjects, contents, arguments.seed, start),
        pretrained=arguments.pretrained,
    )
