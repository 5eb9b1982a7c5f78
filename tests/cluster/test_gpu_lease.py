"""Jobs that share a machine never share a GPU."""

import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate.commands import launch

from boldvision import gpu
from boldvision.errors import UserError
from boldvision.gpu import gpu_pool, python_command

ROOT = Path(__file__).parents[2]
CARDS = [f"GPU-{i:08x}-aaaa-bbbb-cccc-000000000000" for i in range(8)]
LOGGED_JOB = (
    'echo "start $CUDA_VISIBLE_DEVICES" >> log; sleep 0.1; echo "end $CUDA_VISIBLE_DEVICES" >> log'
)
SHOW = [sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of eight GPUs, as far as nvidia-smi tells."""
    fake = tmp_path / "bin" / "nvidia-smi"
    fake.parent.mkdir()
    lines = "\n".join(f"{uuid}, {i}" for i, uuid in enumerate(CARDS))
    fake.write_text(f"#!/bin/sh\ncat <<END\n{lines}\nEND\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.chdir(tmp_path)
    return fake


def start(gpus, *command, flags=(), **options):
    """Start a leased command; its locks lie in the current folder."""
    lease = [sys.executable, "-m", "boldvision", "gpu", "--gpus", str(gpus), "--locks", "locks"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*lease, *flags, "--", *command], **pipes, **options)


def result(job):
    out, err = job.communicate(timeout=20)
    return job.returncode, out.strip(), err.strip()


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


@pytest.mark.survives(
    "jobs",
    "More jobs than GPUs, of one and of two GPUs, start together on a machine",
    "Each waits for GPUs of its own; none is shared",
)
def test_jobs_never_share_a_gpu(machine):
    jobs = [start(1 + i % 2, "sh", "-c", LOGGED_JOB) for i in range(24)]
    assert [result(job)[0] for job in jobs] == [0] * 24
    running, most, used = set(), 0, set()
    for line in Path("log").read_text().splitlines():
        event, cards = line.split()[0], set(line.split()[1].split(","))
        if event == "start":
            assert not running & cards
            running |= cards
        else:
            running -= cards
        most, used = max(most, len(running)), used | cards
    assert not running
    assert used <= set(CARDS)
    assert most > 1


@pytest.mark.survives(
    "jobs",
    "A job that holds a GPU is killed (kill -9)",
    "The kernel drops its lock, and the next job takes the GPU",
)
def test_killed_job_frees_its_gpu(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    job = start(1, "sh", "-c", "echo $$ > pid; exec sleep 60")
    wait_for(Path("pid"))
    waiting = start(1, *SHOW)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=0.5)
    job.kill()
    assert job.wait() == -9
    code, out, err = result(waiting)
    assert (code, out) == (0, CARDS[3])
    assert "waiting for 1 of 1 GPUs" in err


def test_signals_reach_the_command(machine):
    job = start(1, "sh", "-c", "trap 'exit 7' TERM; touch ready; while :; do sleep 0.05; done")
    wait_for(Path("ready"))
    job.terminate()
    assert job.wait(timeout=5) == 7


@pytest.fixture
def waiting(machine, monkeypatch):
    """A job that waits for a GPU which another holds."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    holder = start(1, "sh", "-c", "touch held; exec sleep 60")
    wait_for(Path("held"))
    job = start(1, *SHOW)
    assert "is waiting for 1 of 1 GPUs to be free (locks: locks)" in job.stderr.readline()
    yield job
    holder.kill()
    holder.wait()


@pytest.mark.survives(
    "jobs",
    "Ctrl-C or SIGTERM while a job waits for a GPU",
    "It ends at once, without a traceback, and holds nothing",
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_waits_ends_when_told(number, waiting):
    waiting.send_signal(number)
    assert result(waiting) == (-number, "", "")


def test_a_job_that_waits_says_so_every_minute(machine, monkeypatch, tmp_path, capsys):
    clock = iter(range(0, 1000, 20))
    free = iter([[]] * 7 + [["GPU-1"]])
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(gpu.time, "sleep", lambda _: None)
    monkeypatch.setattr(gpu, "_lock_free", lambda *_: next(free))
    assert gpu.lease(2, tmp_path / "locks") == ["GPU-1"]
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith(f"process {os.getpid()} is waiting for 2 of 8 GPUs to be free (locks")
    assert ["for 1 min" in others[0], "for 2 min" in others[1], len(others)] == [True, True, 2]


@pytest.mark.survives(
    "places",
    "The first user of the GPUs of a machine has the umask 077",
    "Folder and locks are made for all users all the same",
)
@pytest.mark.survives(
    "jobs",
    "systemd-tmpfiles cleans /tmp by age while a job holds the lock of a GPU",
    "The lock is a sticky file, which it leaves alone: no second job takes the GPU",
)
def test_locks_are_for_all_users(machine):
    assert result(start(1, *SHOW, umask=0o077))[0] == 0
    assert stat.filemode(Path("locks").stat().st_mode) == "drwxrwxrwt"
    files = [*Path("locks").iterdir()]
    assert {stat.filemode(file.stat().st_mode) for file in files} == {"-rw-rw-rwT"}
    assert {file.name for file in files} == {"mutex", CARDS[0]}


@pytest.mark.survives(
    "places",
    "The folder of locks is a link, a file, or closed to this user; or a lock is a link or a pipe",
    "The job stops, says what lies there and whose it is, and names --locks",
)
@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("a link", "lrwxrwxrwx of user"),
        ("a file", "-rw-r--r-- of user"),
        ("closed", "drwx------ of user"),
        ("a lock that is a link", "mutex: .*lrwxrwxrwx of user"),
        ("a lock that is a pipe", "mutex: .*prw-r--r-- of user"),
        ("a closed lock", "mutex: .*Permission denied"),
    ],
)
def test_what_cannot_be_shared_is_refused(kind, found, machine, monkeypatch, tmp_path):
    folder, other = tmp_path / "locks", tmp_path / "other"
    other.mkdir()
    if kind == "a link":
        folder.symlink_to(other)
    elif kind == "a file":
        folder.touch(0o644)
    else:
        folder.mkdir(0o700)
    if kind == "closed":
        monkeypatch.setattr(gpu.os, "access", lambda *_: False)
    elif kind == "a lock that is a link":
        (folder / "mutex").symlink_to(other / "file")
    elif kind == "a lock that is a pipe":
        os.mkfifo(folder / "mutex", 0o644)
    elif kind == "a closed lock":
        refused = PermissionError(13, "Permission denied")
        monkeypatch.setattr(gpu.os, "open", lambda *_: (_ for _ in ()).throw(refused))
    with pytest.raises(UserError, match=f"{found}.*another folder with --locks"):
        gpu.lease(1, folder)
    assert not (other / "file").exists()


@pytest.mark.survives(
    "jobs",
    "A file or the folder of locks is deleted while a job waits for it",
    "The job locks the file that lies there now, never one that no other job can see",
)
def test_a_deleted_lock_is_no_lock(monkeypatch, tmp_path):
    path, deleted = tmp_path / "locks" / "mutex", []

    def flock(file, operation):
        if not deleted:
            deleted.append(os.fstat(file).st_ino)
            shutil.rmtree(path.parent)
        fcntl.flock(file, operation)

    monkeypatch.setattr(gpu, "fcntl", SimpleNamespace(flock=flock))
    lock = gpu._lock(path, fcntl.LOCK_EX)
    assert os.path.samestat(os.fstat(lock), path.stat())
    with path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)


def test_two_gpus_are_taken_together_or_not_at_all(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    first = start(1, "sh", "-c", "touch held; exec sleep 60")
    wait_for(Path("held"))
    both = start(2, *SHOW)
    time.sleep(0.3)
    code, out, _ = result(start(1, *SHOW))
    first.kill()
    first.wait()
    assert (code, out) == (0, CARDS[1])
    assert result(both)[:2] == (0, ",".join(CARDS[:2]))


@pytest.mark.parametrize(
    ("preset", "pool"),
    [
        (None, CARDS),
        ("2,5", [CARDS[2], CARDS[5]]),
        ("5,2,5", [CARDS[5], CARDS[2]]),
        (f"{CARDS[4]},GPU-00000006", [CARDS[4], CARDS[6]]),
        ("MIG-1234,MIG-5678", ["MIG-1234", "MIG-5678"]),
        ("", []),
    ],
)
def test_preset_devices_are_the_pool(machine, preset, pool):
    assert gpu_pool(preset) == pool


def test_preset_subset_is_respected(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    assert result(start(2, *SHOW))[:2] == (0, ",".join(CARDS[6:]))


def test_no_gpu_needs_no_driver(machine):
    machine.write_text("#!/bin/sh\ntouch asked; exit 1\n")
    assert result(start(0, *SHOW)) == (0, "", "")
    assert not Path("asked").exists()


@pytest.mark.parametrize("name", ["8", "-1", "NoDevFiles", "GPU-0", "GPU-ffff"])
def test_unknown_preset_is_refused(machine, name):
    with pytest.raises(UserError, match=f"CUDA_VISIBLE_DEVICES names '{name}'"):
        gpu_pool(name)


def test_more_than_exist_is_refused(machine):
    code, _, err = result(start(9, *SHOW))
    assert code == 1
    assert "9 GPUs asked for, 8 exist here" in err


def test_missing_or_broken_driver_is_reported(machine, monkeypatch):
    machine.write_text("#!/bin/sh\necho driver mismatch; exit 9\n")
    with pytest.raises(UserError, match="nvidia-smi failed: driver mismatch"):
        gpu_pool(None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="nvidia-smi is not on PATH"):
        gpu_pool(None)


def test_missing_command_is_reported(machine):
    code, _, err = result(start(1, "no-such-command"))
    assert code == 1
    assert "cannot run 'no-such-command'" in err
    assert result(start(1))[0] == 2


@pytest.mark.parametrize("gpus", [0, 1])
def test_one_device_needs_no_launcher(gpus):
    assert python_command(["-m", "boldvision", "train"], gpus, "bf16", "zero.json") == [
        sys.executable,
        *("-m", "boldvision", "train"),
    ]


@pytest.mark.parametrize(
    ("deepspeed", "several"),
    [
        (None, ["--multi_gpu"]),
        ("zero.json", ["--use_deepspeed", "--deepspeed_config_file", "zero.json"]),
    ],
)
def test_launcher_is_told_everything(deepspeed, several):
    assert python_command(["-m", "boldvision", "train", "--x"], 4, "bf16", deepspeed) == [
        *(sys.executable, "-m", "accelerate.commands.launch", *several),
        *("--num_processes", "4", "--num_machines", "1", "--gpu_ids", "all"),
        *("--mixed_precision", "bf16", "--dynamo_backend", "no", "--main_process_port", "0"),
        *("-m", "boldvision", "train", "--x"),
    ]


def test_settings_in_the_home_change_nothing(tmp_path, monkeypatch):
    home = tmp_path / "default_config.yaml"
    theirs = {"num_processes": 7, "gpu_ids": "3", "mixed_precision": "fp16", "num_machines": 2}
    common = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_GPU"}
    home.write_text(json.dumps(common | theirs | {"main_process_port": 29500, "use_cpu": False}))
    monkeypatch.setattr(launch, "default_config_file", str(home))
    monkeypatch.setattr("accelerate.commands.config.config_args.default_config_file", str(home))
    arguments = python_command(["-m", "boldvision", "train", "--x"], 4)[3:]
    args, defaults, _ = launch._validate_launch_command(
        launch.launch_command_parser().parse_args(arguments)
    )
    assert defaults.num_processes == 7
    assert (args.num_processes, args.num_machines, args.gpu_ids) == (4, 1, "all")
    assert (args.mixed_precision, args.main_process_port, args.multi_gpu) == ("no", 0, True)
    assert (args.module, args.training_script) == (True, "boldvision")
    assert args.training_script_args == ["train", "--x"]


def test_deepspeed_example_leaves_the_optimization_to_the_run():
    example = json.loads((ROOT / "config" / "deepspeed_zero2.json").read_text())
    assert example["zero_optimization"]["stage"] == 2
    batch = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    assert [example[key] for key in batch] == ["auto"] * 3
    assert "gradient_clipping" not in example  # accelerate takes `auto` to mean 1
