"""Stage `fmriprep`: the command line, what is checked before it runs, and taking it up again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from boldvision import files
from boldvision.config import Fmriprep, FmriprepJob
from boldvision.errors import UserError
from boldvision.signal import fmriprep
from boldvision.signal.fmriprep import Task, command, require_licence

LICENCE = "someone@example.org\n12345\n *Cabcdefghijk\n FSabcdefghijk\n"
SETTINGS = Fmriprep(kind="fmriprep")
OWN_OPTIONS = (
    "--participant-label 01 --task-id nsdcore --output-spaces MNI152NLin2009cAsym"
    " --nprocs 8 --mem_mb 32000 --notrack"
)


@pytest.fixture
def task(tmp_path):
    for name in ("raw data", "out", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "license.txt").write_text(LICENCE)
    folders = [tmp_path / name for name in ("raw data", "out", "work")]
    return Task(*folders, "01", "nsdcore", 8, 32000)


def job(tmp_path, **settings):
    return FmriprepJob(licence=str(tmp_path / "license.txt"), **settings)


def test_docker_command(task, tmp_path):
    argv = command(task, SETTINGS, job(tmp_path))
    assert argv[:4] == ["fmriprep-docker", str(task.bids), str(task.out), "participant"]
    assert OWN_OPTIONS in " ".join(argv)
    for option, value in {
        "--work-dir": str(task.work),
        "--fs-license-file": str(tmp_path / "license.txt"),
        "--image": "nipreps/fmriprep:23.2.0",
        "--user": f"{os.getuid()}:{os.getgid()}",
    }.items():
        assert argv[argv.index(option) + 1] == value
    assert not [word for word in argv if word.startswith("--skip")]


def test_apptainer_command(task, tmp_path):
    argv = command(task, SETTINGS, job(tmp_path, runtime="apptainer", image="fmriprep.sif"))
    image = argv.index("fmriprep.sif")
    assert argv[:3] == ["apptainer", "run", "--cleanenv"]
    binds = [argv[i + 1] for i in range(image) if argv[i] == "--bind"]
    assert binds == [
        f"{task.bids}:/data:ro",
        f"{task.out}:/out",
        f"{task.work}:/work",
        f"{tmp_path}/license.txt:/opt/freesurfer/license.txt:ro",
    ]
    expected = f"/data /out participant {OWN_OPTIONS} --work-dir /work"
    assert " ".join(argv[image + 1 :]).startswith(expected)


def test_other_space_and_image(task, tmp_path):
    settings = SETTINGS.model_copy(update={"space": "fsaverage5", "version": "25.2.7"})
    argv = command(task, settings, job(tmp_path))
    assert argv[argv.index("--output-spaces") + 1] == "fsaverage5"
    assert argv[argv.index("--image") + 1] == "nipreps/fmriprep:25.2.7"
    argv = command(task, settings, job(tmp_path, image="local:1"))
    assert argv[argv.index("--image") + 1] == "local:1"


def test_apptainer_needs_an_image():
    with pytest.raises(ValueError, match="`runtime: apptainer` needs `image`"):
        FmriprepJob(runtime="apptainer")


def test_how_it_runs_is_in_no_stages_settings():
    other = Fmriprep(kind="fmriprep", job={"threads": 2, "work": "b"}, derivatives="c")
    assert other.model_dump() == SETTINGS.model_dump()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected FreeSurfer's licence, found no file"),
        ("", "licence is empty"),
        ("\n \n", "licence is empty"),
        ("someone@example.org\n12345\n", "expected the four lines .*found 2 other lines"),
        ("{\n'licence'\n: 1\n}", "expected the four lines"),
        (LICENCE.replace("*C", "C"), "a key that begins with \\*"),
    ],
)
def test_a_wrong_licence_is_named(tmp_path, content, message):
    path = tmp_path / "license.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=rf"license\.txt: .*{message}.*registration\.html"):
        require_licence(path)


def test_a_right_licence(tmp_path):
    (tmp_path / "license.txt").write_text(LICENCE)
    require_licence(tmp_path / "license.txt")


def program(folder, name, script):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def path_of(tmp_path, monkeypatch):
    """An empty PATH to put programs on, apart from the system's."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "bin"


def stage(task, tmp_path, version=SETTINGS.version, **settings):
    fmriprep.main(
        [
            *(
                "--bids",
                str(task.bids),
                "--participant",
                "01",
                "--task",
                "nsdcore",
                "--out",
                str(tmp_path / "done"),
            ),
            *(
                "--settings",
                json.dumps({"preprocessing": {"kind": "fmriprep", "version": version}}),
            ),
            *("--job", job(tmp_path, work=str(task.work), **settings).model_dump_json()),
            *("--threads", "8", "--mem-mb", "32000"),
        ]
    )


def test_missing_programs_and_images_are_named(task, tmp_path, path_of, monkeypatch):
    monkeypatch.setenv("PATH", str(path_of))
    with pytest.raises(UserError, match=r"fmriprep-docker: no such program .*optional\.in"):
        stage(task, tmp_path)
    with pytest.raises(UserError, match="apptainer: no such program"):
        stage(task, tmp_path, runtime="apptainer", image="none.sif")
    program(path_of, "fmriprep-docker", "exit 0")
    program(path_of, "docker", "echo no such image >&2; exit 1")
    with pytest.raises(UserError, match=r"no such image.*docker pull nipreps/fmriprep:23\.2\.0"):
        stage(task, tmp_path)
    program(path_of, "apptainer", "exit 0")
    with pytest.raises(UserError, match=r"none\.sif: no such file; .*apptainer build"):
        stage(task, tmp_path, runtime="apptainer", image="none.sif")
    assert not (tmp_path / "done.partial").exists()


@pytest.mark.survives(
    "jobs",
    "fMRIPrep is killed",
    "The next try goes on from its working folder and partial output, with FreeSurfer's marks gone",
)
def test_an_interrupted_run_is_taken_up_again(task, tmp_path, path_of):
    program(path_of, "docker", "exit 0")
    program(path_of, "fmriprep-docker", 'touch "$2/begun"; exit 1')
    with pytest.raises(UserError, match=r"ended with code 1 .*Run again to go on"):
        stage(task, tmp_path)
    partial = tmp_path / "done.partial"
    assert not (tmp_path / "done").exists()
    mark = partial / "sourcedata/freesurfer/sub-01/scripts/IsRunning.lh"
    mark.parent.mkdir(parents=True)
    mark.touch()
    script = f'ls "$2/begun" "{task.work}" && ! ls "{mark}" && mkdir "$2/sub-01"'
    program(path_of, "fmriprep-docker", script)
    stage(task, tmp_path)
    assert (tmp_path / "done" / "begun").exists()
    assert not partial.exists()
    assert not task.work.exists()


@pytest.mark.survives(
    "jobs",
    "A killed job's container still writes, since Docker's server keeps it",
    "It is stopped before the next try begins; containers of other folders are left alone",
)
def test_a_container_that_was_left_behind_is_stopped(task, tmp_path, path_of, monkeypatch):
    script = f"""case "$1" in
    ps) echo ours; echo other;;
    inspect) [ "$4" = ours ] && echo "{tmp_path}/done.partial" || echo "{tmp_path}/done.partial2";;
    stop) echo "$2" >> "{tmp_path}/stopped";;
    esac"""
    program(path_of, "docker", script)
    program(path_of, "fmriprep-docker", f'cp "{tmp_path}/stopped" "$2" && mkdir "$2/sub-01"')
    stage(task, tmp_path)
    assert (tmp_path / "done" / "stopped").read_text() == "ours\n"
    (tmp_path / "stopped").unlink()
    monkeypatch.setattr(fmriprep, "run_program", lambda argv: sys.exit(143))  # after SIGTERM
    with pytest.raises(SystemExit):
        stage(task, tmp_path)
    assert (tmp_path / "stopped").read_text() == "ours\nours\n"


@pytest.mark.survives(
    "jobs",
    "fMRIPrep is begun for a subject while another job runs it",
    "It is refused; the message names the folder and the other process",
)
def test_two_jobs_of_one_subject(task, tmp_path, path_of, monkeypatch):
    program(path_of, "docker", "exit 0")
    program(path_of, "fmriprep-docker", 'mkdir "$2/sub-01"')
    monkeypatch.setattr(files, "PATIENCE_S", 0.0)
    with files.only_job(tmp_path / "done"), pytest.raises(UserError, match="another job works"):
        stage(task, tmp_path)
    assert not (tmp_path / "done.partial").exists()


@pytest.mark.survives(
    "files",
    "FreeSurfer's licence may not be read by this account",
    "That is said; no new licence is asked for",
)
def test_a_licence_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match=r"license\.txt: Permission denied: this account") as error:
        require_licence(tmp_path / "license.txt")
    assert "registration" not in str(error.value)


@pytest.mark.survives(
    "results",
    "The unfinished output of another version of fMRIPrep is there",
    "It is not gone on with; both versions are named, and the folder to remove",
)
def test_an_interrupted_run_of_another_version_is_not_mixed_in(task, tmp_path, path_of):
    program(path_of, "docker", "exit 0")
    program(path_of, "fmriprep-docker", 'touch "$2/begun"; exit 1')
    with pytest.raises(UserError, match="Run again to go on"):
        stage(task, tmp_path)
    with pytest.raises(UserError, match=r"done.partial: .* of fMRIPrep 23\.2\.0, .* is 24\.0\.0"):
        stage(task, tmp_path, version="24.0.0")
    assert (tmp_path / "done.partial" / "begun").exists()
    (task.work / "of the other version").touch()
    shutil.rmtree(tmp_path / "done.partial")
    program(
        path_of, "fmriprep-docker", f'! ls "{task.work}/of the other version" && mkdir "$2/sub-01"'
    )
    stage(task, tmp_path, version="24.0.0")
    assert os.listdir(tmp_path / "done") == ["sub-01"]


def test_success_without_output_is_a_failure(task, tmp_path, path_of):
    program(path_of, "apptainer", "exit 0")
    (tmp_path / "fmriprep.sif").touch()
    with pytest.raises(UserError, match="code 0 and is not complete"):
        stage(task, tmp_path, runtime="apptainer", image=str(tmp_path / "fmriprep.sif"))


def parsed(arguments):
    """What fMRIPrep's own parser makes of arguments."""
    parser = pytest.importorskip("fmriprep.cli.parser", reason="see envs/fmriprep.in")
    return parser._build_parser().parse_args(arguments)


def in_container(arguments, task):
    """Arguments with the container's paths replaced by existing ones."""
    licence = str(task.work.parent / "license.txt")
    paths = {"/data": str(task.bids), "/opt/freesurfer/license.txt": licence}
    return [paths.get(word, word) for word in arguments]


def check_options(options, task):
    assert options.bids_dir == task.bids
    assert options.output_dir == Path("/out")
    assert (options.participant_label, options.task_id) == (["01"], "nsdcore")
    assert [space.fullname for space in options.output_spaces.references] == [SETTINGS.space]
    assert (options.nprocs, options.memory_gb) == (8, 32)
    assert options.work_dir in (Path("/work"), Path("/scratch"))
    assert options.notrack
    assert not options.skip_bids_validation


def test_fmripreps_parser_accepts_the_apptainer_command(task, tmp_path):
    argv = command(task, SETTINGS, job(tmp_path, runtime="apptainer", image="fmriprep.sif"))
    arguments = in_container(argv[argv.index("fmriprep.sif") + 1 :], task)
    check_options(parsed(arguments), task)


def test_fmripreps_parser_accepts_the_docker_command(task, tmp_path, monkeypatch):
    """What fmriprep-docker passes on to Docker, which is not there: a program stands in for it."""
    if shutil.which("fmriprep-docker") is None:
        pytest.skip("fmriprep-docker is not installed; see envs/optional.in")
    noted = tmp_path / "noted"
    script = f'[ "$1 $2" = "run --rm" ] && printf "%s\\n" "$@" > "{noted}"\n'
    script += '[ "$3" = "--entrypoint=free" ] && echo "Mem: 99000"\necho 20.10'
    program(tmp_path / "bin", "docker", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    subprocess.run(command(task, SETTINGS, job(tmp_path)), check=True, stdin=subprocess.DEVNULL)
    docker, _, arguments = noted.read_text().partition("nipreps/fmriprep:23.2.0\n")
    assert f"-u\n{os.getuid()}:{os.getgid()}\n" in docker
    assert f"{task.bids}:/data:ro\n" in docker
    assert f"{task.work}:/scratch\n" in docker
    assert "-e\nNO_ET=1\n" in docker
    assert "-it" not in docker.split()
    check_options(parsed(in_container(arguments.splitlines(), task)), task)
