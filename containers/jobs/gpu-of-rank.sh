#!/usr/bin/env bash
# One GPU for every rank of a node, where the launcher did not see to it. It must be settled before anything looks for
# GPUs, so it is done around the command.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: gpu-of-rank.sh COMMAND [ARG ...]

Runs COMMAND with CUDA_VISIBLE_DEVICES set to one GPU: of those that the launcher gave to the rank, else of the node's,
the one at the rank's place among the node's ranks, counted round. One GPU that was given already stays, and a node
without GPUs has none.
TEXT
}

# Inner launchers first: mpirun inside of a Slurm job sees Slurm's variables too. aprun only numbers the whole job's
# ranks, which it lays out node by node.
rank_on_node() {
    local name
    for name in OMPI_COMM_WORLD_LOCAL_RANK MPI_LOCALRANKID MV2_COMM_WORLD_LOCAL_RANK PALS_LOCAL_RANKID PMI_LOCAL_RANK \
        JSM_NAMESPACE_LOCAL_RANK FLUX_TASK_LOCAL_ID ALPS_APP_PE SLURM_LOCALID; do
        if [[ ${!name:-} =~ ^[0-9]+$ ]]; then printf '%s' "${!name}"; return; fi
    done
    printf 0
}

gpus() {
    if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
        printf '%s' "$CUDA_VISIBLE_DEVICES" | tr ',' '\n'
    elif command -v nvidia-smi >/dev/null; then
        nvidia-smi --query-gpu=index --format=csv,noheader
    fi
}

[[ ${1:-} != --help ]] || { usage; exit; }
(($#)) || { echo 'gpu-of-rank: error: a command was expected (see --help)' >&2; exit 2; }
mapfile -t found < <(gpus)
if ((${#found[@]} > 1)); then
    export CUDA_VISIBLE_DEVICES=${found[$(rank_on_node) % ${#found[@]}]}
fi
exec "$@"
