#!/usr/bin/env bash
# A command in a container image, with all that this host, its MPI and its launcher need.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: exec.sh [--bind SRC[:DST[:OPTIONS]]] ... [--nv] [--host-mpi DIR] [--dry-run] IMAGE COMMAND [ARG ...]

Runs COMMAND in IMAGE by Apptainer or Singularity: the host's, or the one that install-apptainer.sh put into
build/apptainer (also: APPTAINER=PATH). The home folder, /tmp, /dev/shm and the working directory are the host's.

  mpirun -n 4 exec.sh IMAGE menndl run SEARCH --out RUN --expect-ranks 4         all of menndl in the image (hybrid)
  exec.sh IMAGE mpirun -n 4 menndl run SEARCH --out RUN --expect-ranks 4         the image's own MPI, on one node
  MENNDL_TRAINER="exec.sh IMAGE python3 -m menndl_caffe.trainer caffe" mpirun -n 4 menndl run SEARCH --out RUN
                                                                        MPI on the host, the trainers in the image

  --bind         a folder that the command shall see, as Apptainer's --bind takes it; may be repeated
  --nv           the host's NVIDIA driver and GPUs
  --host-mpi DIR the MPI of the host (DIR/lib/libmpi.so.*) in place of the image's, which must have the same ABI
  --dry-run      only print the command that would run
  --help         this text
TEXT
}

fail() { printf 'exec: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'exec: error: %s (see --help)\n' "$*" >&2; exit 2; }

# shellcheck source=containers/host.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/host.sh"

# What means something on the host alone, and what MPI in a container needs:
# - Open MPI's folders, where the host's is not the image's own
# - PMIx: shared memory as its store, and munge's tickets, do not work across the container's wall
# - Open MPI, MPICH, UCX: ranks in user namespaces of their own cannot read each other's memory
set_environment() {
    unset OPAL_PREFIX PMIX_PREFIX PRTE_PREFIX PYTHONPATH PYTHONHOME MENNDL_TRAINER MENNDL_CAFFE_PYTHON
    export PMIX_MCA_gds=${PMIX_MCA_gds:-hash} PMIX_MCA_psec=${PMIX_MCA_psec:-native}
    export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
    export MPIR_CVAR_CH4_CMA_ENABLE=${MPIR_CVAR_CH4_CMA_ENABLE:-0} UCX_POSIX_USE_PROC_LINK=${UCX_POSIX_USE_PROC_LINK:-n}
}

options=() image='' dry_run='' host_mpi=''
while (($#)); do
    case $1 in
        --help) usage; exit ;;
        --bind) [[ -n ${2:-} ]] || misuse "--bind needs a folder"; options+=(--bind "$2"); shift ;;
        --nv) options+=(--nv) ;;
        --host-mpi) [[ -n ${2:-} ]] || misuse "--host-mpi needs a folder"; host_mpi=$2; shift ;;
        --dry-run) dry_run=1 ;;
        -*) misuse "unknown option $1" ;;
        *) image=$1; shift; break ;;
    esac
    shift
done
[[ -n $image ]] || misuse "no IMAGE given"
[[ -e $image ]] || misuse "no image at $image; make container builds build/menndl-caffe.sif"
(($#)) || misuse "no COMMAND given"
apptainer=$(find_apptainer) ||
    misuse "no apptainer or singularity here: run $containers/install-apptainer.sh, or set APPTAINER=PATH"
set_environment
if lacks_capabilities; then options+=(--no-privs); fi
if [[ -n $host_mpi ]]; then
    compgen -G "$host_mpi/lib/libmpi.so*" >/dev/null || misuse "no libmpi.so in $host_mpi/lib"
    host_mpi=$(readlink -f -- "$host_mpi")
    export OPAL_PREFIX=$host_mpi
    options+=(--bind "$host_mpi:$host_mpi:ro" --env "LD_LIBRARY_PATH=$host_mpi/lib")
fi
image=$(mountable "$apptainer" "$image")
command=("$apptainer" --quiet exec "${options[@]}" "$image" "$@")
if [[ -n $dry_run ]]; then printf '%q ' "${command[@]}"; echo; exit; fi
exec "${command[@]}"
