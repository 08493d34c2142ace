"""Stand-ins for what a cluster has and a test machine has not, by the name they are called by: launchers that start
their ranks as plain processes, schedulers that write down what they are asked, and a menndl that only says where it is.

A launcher knows the options that the real one is documented to have, and no others. The nodes are folders: what a
command line says of LOCAL_ROOT becomes the node's own folder. FAKE_CLUSTER names the folder of all this: log.jsonl,
nodes/0, nodes/1 ...; FAKE_MENNDL says as JSON how menndl shall behave.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple


class Launcher(NamedTuple):
    """Its options, all with a value, and how it tells a rank its place among its node's ranks."""

    options: Tuple[str, ...]
    local_rank: str
    gpu: str = ""  # the option with which it gives every rank a GPU of its own


LAUNCHERS = {
    "srun": Launcher(("--mpi", "--nodes", "--ntasks", "--ntasks-per-node", "--cpus-per-task", "--kill-on-bad-exit",
                      "--wait"), "SLURM_LOCALID"),
    "aprun": Launcher(("-n", "-N", "-d"), "ALPS_APP_PE"),
    "jsrun": Launcher(("-n", "-r", "-a", "-c", "-g"), "JSM_NAMESPACE_LOCAL_RANK", gpu="-g"),
    "flux run": Launcher(("-N", "-n", "-c", "-g", "-o"), "FLUX_TASK_LOCAL_ID", gpu="-g"),
    "mpirun": Launcher(("--hostfile", "-n", "--map-by", "--with-ft", "-x"), "OMPI_COMM_WORLD_LOCAL_RANK"),
}
# What the schedulers' programs answer; what they are told, they only write down.
ANSWERS = {
    "squeue": os.environ.get("FAKE_END", ""),
    "qstat": "Job Id: 17.titan\n    Account_Name = BIF101\n    Resource_List.nodes = 2\n"
             "    Resource_List.walltime = 01:30:00\n",
    "bjobs": "1:30 L\n",
    "flux resource": "2\n",
    "flux getattr": "ƒABC\n",
    "flux job": "5400\n" if "timeleft" in sys.argv else "4711\n",
    "mpirun": "mpirun (Open MPI) 5.0.11\n",
    "scontrol": "", "qsub": "18.titan\n", "flux --parent": "ƒABD\n",
}
HOME = Path(os.environ["FAKE_CLUSTER"])


def write_down(program: str, **what: Any) -> None:
    """One line of log.jsonl; the ranks write at the same time, so it is one write."""
    with open(HOME / "log.jsonl", "ab", buffering=0) as log:
        log.write(json.dumps({"program": program, **what}).encode() + b"\n")


def parse(arguments: Sequence[str], options: Sequence[str]) -> Tuple[Dict[str, str], List[str]]:
    """The options' values and the command after them; an unknown option ends the program, as it would the real one."""
    rest, found = list(arguments), {}
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name not in options:
            sys.exit(f"fake launcher: no option {name}, there are {options}")
        found[name] = value if equals else rest.pop(0)
    return found, rest


def shape(program: str, given: Mapping[str, str]) -> Tuple[int, int]:
    """Ranks in all and on each node."""
    if program == "srun":
        nodes = int(given.get("--nodes", os.environ["SLURM_NNODES"]))
        ranks = int(given.get("--ntasks", os.environ["SLURM_NTASKS"]))
        return ranks, int(given.get("--ntasks-per-node", ranks // nodes))
    ranks = int(given["-n"])
    if program == "aprun":
        return ranks, int(given["-N"])
    if program == "jsrun":
        return ranks * int(given["-a"]), int(given["-r"]) * int(given["-a"])
    if program == "flux run":
        return ranks, ranks // int(given["-N"])
    return ranks, 1 if "--map-by" in given else ranks // int(os.environ["FAKE_HOSTS"])


def launch(program: str, arguments: Sequence[str]) -> int:
    """Run the command once a rank, all at once, and tell them of a SIGTERM; the highest exit code."""
    launcher = LAUNCHERS[program]
    given, command = parse(arguments, launcher.options)
    ranks, per_node = shape(program, given)
    write_down(program, options=given, arguments=command)
    processes: List[subprocess.Popen[bytes]] = []
    told: List[int] = []

    def stop(number: int, frame: object) -> None:
        told.append(number)
        for process in processes:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    for rank in range(ranks):
        node = HOME / "nodes" / str(rank // per_node)
        node.mkdir(parents=True, exist_ok=True)
        place = rank if launcher.local_rank == "ALPS_APP_PE" else rank % per_node
        variables = {launcher.local_rank: str(place), "FAKE_RANK": str(rank), "FAKE_NODE": node.name}
        if launcher.gpu and given.get(launcher.gpu) == "1":
            variables["CUDA_VISIBLE_DEVICES"] = str(rank % per_node)
        here = [word.replace(os.environ["LOCAL_ROOT"], str(node)) for word in command]
        processes.append(subprocess.Popen(here, env={**os.environ, **variables}, stdin=subprocess.DEVNULL))
        for number in told:  # while this rank was being started
            processes[-1].send_signal(number)
    codes = [process.wait() for process in processes]
    return max(128 - code if code < 0 else code for code in codes)


def menndl(arguments: Sequence[str]) -> int:
    """Says where it runs and on what; for `run`, rank 0 adds results to the journal; `status`: is that all?"""
    behaviour = json.loads(os.environ.get("FAKE_MENNDL", "{}"))
    if arguments[0] == "status":
        write_down("menndl", arguments=list(arguments))
        print(json.dumps({"complete": behaviour.get("complete", True)}, indent=2))
        return 0
    data = Path(arguments[arguments.index("--data") + 1])
    held = {path.name: path.stat().st_size for path in data.rglob("*") if path.is_file()}
    write_down("menndl", arguments=list(arguments), rank=int(os.environ["FAKE_RANK"]), node=os.environ["FAKE_NODE"],
               gpu=os.environ.get("CUDA_VISIBLE_DEVICES"), data=held, trainer=os.environ.get("MENNDL_TRAINER"))
    (data / "cifar10_train_lmdb" / "lock.mdb").touch()
    if arguments[0] == "doctor":
        print("the doctor's table")
        return int(behaviour.get("doctor", 0))
    run = Path(arguments[arguments.index("--out") + 1])
    if os.environ["FAKE_RANK"] == "0":
        with open(run / "journal.jsonl", "a") as journal:
            journal.write('{"event": "result", "id": 7}\n' * behaviour.get("results", 3))
    time.sleep(behaviour.get("seconds", 0))
    return int(behaviour.get("run", 0))


def apptainer(arguments: Sequence[str]) -> int:
    """Runs the command of `apptainer exec` on the host; a fake image is nothing to run in."""
    if arguments[0] == "--version":
        print("apptainer version 1.4.2")
        return 0
    rest = list(arguments)
    write_down("apptainer", arguments=rest)
    while not rest[0].endswith(".sif"):
        rest.pop(0)
    os.execvp(rest[1], rest[1:])


def main() -> int:
    """What the program of this name would do."""
    program, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    if program == "menndl":
        return menndl(arguments)
    if program == "apptainer":
        return apptainer(arguments)
    if program == "flux":
        program, arguments = f"flux {arguments[0]}", arguments[1:]
    if program in LAUNCHERS and "--version" not in arguments:
        return launch(program, arguments)
    write_down(program, arguments=arguments)
    print(ANSWERS[program], end="")
    code = int(os.environ.get("FAKE_SCHEDULER_CODE", 0)) if program in ("scontrol", "qsub", "flux --parent") else 0
    if program == "scontrol" and code == 0:
        os.kill(os.getppid(), signal.SIGTERM)  # Slurm ends a job that is to be queued again
    return code
