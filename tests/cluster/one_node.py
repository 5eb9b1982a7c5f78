"""A Slurm cluster of this machine alone, from Debian's slurm-wlm and munge: no systemd, no GPU."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

BUILT_IN = Path("/etc/slurm/slurm.conf")
"""Where Slurm looks itself: the plug-in's job step passes no ``SLURM_CONF`` on."""
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol"]
SEARCHED = f"{os.environ['PATH']}:/usr/sbin"
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
JobRequeue=0
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory={mem_mb} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=INFINITE PriorityTier=2
"""


def missing():
    """What this machine lacks to be a cluster; empty: nothing."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=SEARCHED)]
    if absent:
        return f"needs {', '.join(absent)}: Debian's slurm-wlm and munge"
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        return "needs snakemake-executor-plugin-slurm: envs/optional.in"
    if os.geteuid():
        return "needs root"
    return f"{BUILT_IN} is another cluster's" if os.path.lexists(BUILT_IN) else ""


class Cluster:
    """Starts its three daemons, and ends them; all files lie in a folder.

    Parameters
    ----------
    folder : Path
        Short: the path of a socket has 107 bytes at most.
    """

    def __init__(self, folder):
        self.folder, self.conf = folder, folder / "slurm.conf"
        self.environment = os.environ | {"SLURM_CONF": str(self.conf), "PATH": SEARCHED}

    def __enter__(self):
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        host = socket.gethostname().split(".")[0]
        mem_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
        values = {"folder": self.folder, "host": host, "ports": free_ports(2), "mem_mb": mem_mb}
        self.conf.write_text(CONF.format(cpus=os.cpu_count(), **values))
        BUILT_IN.parent.mkdir(exist_ok=True)
        BUILT_IN.symlink_to(self.conf)
        try:
            self._munge()
            self.run("slurmctld")
            self.run("slurmd", "-N", host)
            wait(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%t"), 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _munge(self):
        key = self.folder / "key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        files = {"socket": "munge.socket", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self.run("munged", "--force", f"--key-file={key}", *options)

    def run(self, *command):
        """Run one of Slurm's programs; return what it printed."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def jobs(self):
        """State of every job that has not ended, by its number."""
        lines = self.run("squeue", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def __exit__(self, *_):
        subprocess.run(["scancel", "--full", "--user=root"], env=self.environment, check=False)
        BUILT_IN.unlink(missing_ok=True)
        for name in ("slurmd", "slurmctld", "munged"):
            file = self.folder / f"{name}.pid"
            if file.exists() and (pid := int(file.read_text())):
                os.kill(pid, signal.SIGTERM)
                wait(lambda pid=pid: not Path(f"/proc/{pid}").exists(), 20)


def free_ports(count):
    """Ports of loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait(reached, seconds):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
