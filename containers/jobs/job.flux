#!/usr/bin/env bash
# A search under Flux, from the repository's folder:
#     SEARCH=my.search.prototxt RUN=runs/my RANKS_PER_NODE=4 GPUS=1 flux batch -N 8 containers/jobs/job.flux
# NOT RUN HERE: written from public documentation, and run in tests/test_jobs.py with a stand-in for flux only.
# flux: --job-name=menndl
# flux: --nodes=1
# flux: --exclusive
# flux: --time-limit=2h
set -euo pipefail
[[ ${1:-} != --help ]] || { sed -n '/^#!\|^set\|^\[/d; /^# shellcheck/q; p' -- "$0"; exit; }

SEARCH=${SEARCH:-solvers/paper.search.prototxt}
RUN=${RUN:-runs/paper}       # the run's folder, on a file system that all nodes share
DATA=${DATA:-data/cifar10}   # copied to every node's own disk or memory
ENGINE=${ENGINE:-caffe}
IMAGE=${IMAGE:-}             # a .sif; empty: the menndl of PATH or of build/venv
RANKS_PER_NODE=${RANKS_PER_NODE:-4}
THREADS=${THREADS:-1}        # cores of a rank
GPUS=${GPUS:-0}              # 1: one a rank
MPI=${MPI:-pmi=simple}       # Open MPI 5 wants pmi=pmix, which is Flux's plugin flux-pmix
REPOSITORY=${REPOSITORY:-$PWD}
JOB_SCRIPT=${JOB_SCRIPT:-$REPOSITORY/containers/jobs/job.flux} # the next job's; where you work with a copy, its path

# shellcheck source=containers/jobs/common.sh
source "$REPOSITORY/containers/jobs/common.sh"
NODES=$(flux resource list -n -s up -o '{nnodes}')
JOB=$(flux job id --to=dec "$(flux getattr jobid)") RANKS=$((NODES * RANKS_PER_NODE))
local_roots=("${TMPDIR:-}" /dev/shm /tmp)

per_node() { launch flux run -N "$NODES" -n "$NODES" -c 1 "$@"; }
per_rank() { launch flux run -N "$NODES" -n "$RANKS" -c "$THREADS" -g "$GPUS" -o "$MPI" "$@"; }
seconds_left() { flux job timeleft; }
next_job() { flux --parent batch -N "$NODES" "$JOB_SCRIPT"; }

stage
doctor
search
