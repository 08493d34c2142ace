#!/usr/bin/env bash
# A search on hosts without a scheduler, by mpirun over ssh, from any folder:
#     HOSTS=hosts.txt RANKS=16 SEARCH=my.search.prototxt RUN=runs/my containers/jobs/job.sh
# Run here on one host, with Open MPI 5 (tests/test_jobs.py) and with MPICH 5. With Open MPI 5 the search goes on when a
# rank dies. Without HOSTS all ranks are on this host. Exit code 75: TIME_LIMIT was up, the same command goes on.
set -euo pipefail
[[ ${1:-} != --help ]] || { sed -n '/^#!\|^set\|^here\|^\[/d; /^# shellcheck/q; p' -- "$0"; exit; }

SEARCH=${SEARCH:-solvers/paper.search.prototxt}
RUN=${RUN:-runs/paper}       # the run's folder, on a file system that all hosts share
DATA=${DATA:-data/cifar10}   # copied to every host's own disk or memory
ENGINE=${ENGINE:-caffe}
IMAGE=${IMAGE:-}             # a .sif; empty: the menndl of PATH or of build/venv
HOSTS=${HOSTS:-}             # a host file as mpirun reads it
RANKS=${RANKS:-$(nproc)}     # on all hosts together
THREADS=${THREADS:-1}        # cores of a rank
GPUS=${GPUS:-0}              # 1: one a rank, by its place on its host
TIME_LIMIT=${TIME_LIMIT:-}   # seconds for all of this; empty: no limit
MPIRUN=${MPIRUN:-$(command -v mpirun || true)}

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=containers/jobs/common.sh
source "$here/common.sh"
MPIRUN=${MPIRUN:-$containers/../build/venv/bin/mpirun}
JOB=$$ NODES=1 hosts=()
local_roots=("${TMPDIR:-}" /dev/shm /tmp)
if [[ -n $HOSTS ]]; then
    hosts=(--hostfile "$HOSTS")
    NODES=$(grep -cv '^[[:space:]]*\(#\|$\)' "$HOSTS")
fi
case $("$MPIRUN" --version 2>&1) in
    *"(Open MPI) 5"*) one_a_node=(--map-by ppr:1:node) fault_tolerance=(--with-ft ulfm) forward=-x ;;
    *"(Open MPI)"*) one_a_node=(--map-by ppr:1:node) fault_tolerance=() forward=-x ;;
    *) one_a_node=(-ppn 1) fault_tolerance=() forward='' ;; # MPICH and its relatives
esac
# A rank that is killed in an image ends with a code, not by the signal, and Open MPI 5.0 then waits for it for ever.
if [[ -n $IMAGE && -z $TRAINERS_ONLY ]]; then fault_tolerance=(); fi

per_node() { launch "$MPIRUN" "${hosts[@]}" -n "$NODES" "${one_a_node[@]}" "$@"; }
per_rank() { # Open MPI gives other hosts no variable unasked
    local name variables=()
    for name in $(compgen -e MENNDL_); do variables+=(${forward:+"$forward" "$name"}); done
    launch "$MPIRUN" "${hosts[@]}" -n "$RANKS" "${fault_tolerance[@]}" "${variables[@]}" "$@"
}
seconds_left() { [[ -z $TIME_LIMIT ]] || echo $((TIME_LIMIT - SECONDS)); }
next_job() { :; } # whoever started this one starts it again

stage
doctor
search
