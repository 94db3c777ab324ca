"""A SLURM of one node on this machine, with a munge of its own, as root."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not():
    """Why no SLURM can be started here; empty if one can."""
    missing = [program for program in PROGRAMS if _program(program) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)"
    return "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "SLURM's daemons need root here"


@contextmanager
def running_slurm(folder):
    """Yield the path for SLURM_CONF."""
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    configuration = folder / "slurm.conf"
    ports = {"controller_port": _free_port(), "node_port": _free_port()}
    values = {"host": socket.gethostname(), "folder": folder, "cores": os.cpu_count(), **ports}
    configuration.write_text(CONFIGURATION.format(**values))
    munge = ["munged", "--foreground", "--force", *(f"--{kind}={folder}/munge.{name}" for kind, name in (
        ("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")
    ))]  # fmt: skip
    with ExitStack() as stack:
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D"]):
            process = subprocess.Popen(
                [_program(command[0]), *command[1:]],
                env={**os.environ, "SLURM_CONF": str(configuration)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            time.sleep(0.5)
        _wait_for_node(configuration)
        yield configuration


def _program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait_for_node(configuration, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"],
            env={**os.environ, "SLURM_CONF": str(configuration)}, capture_output=True, encoding="utf-8",
        ).stdout.strip()  # fmt: skip
        if state == "idle":
            return
        time.sleep(0.5)
    raise RuntimeError(f"SLURM's node is {state or 'not there'} after {seconds} seconds")
