#!/usr/bin/env bash
# One search with real Caffe in an image, both ways: MPI and menndl on the host with the trainers in the image, and all
# of it in the image. The same individuals must come out with the same fitness, where the search has generations.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: run-both-ways.sh [-n RANKS] [--mpirun PATH] [--menndl PATH] IMAGE SEARCH RUN [OPTION ...]

Runs `menndl run SEARCH OPTION ...` into RUN/split (trainers in IMAGE) and RUN/hybrid (each rank in IMAGE), and compares
what they found; a search without generations goes another way each time, so that only its size can be compared.

  -n RANKS        how many (default: 2)
  --mpirun PATH   the host's launcher (default: mpirun). Open MPI 4 works with the image's own MPI; of Open MPI 5 in a
                  folder of its own, and of MPICH with the image of build.sh --mpich, the library is bound into the
                  image; with any other, the second way uses the image's own mpirun
  --menndl PATH   the host's menndl (default: menndl)
  --help          this text
TEXT
}

say() { printf 'run-both-ways: %3d s  %s\n' "$SECONDS" "$*"; }
fail() { printf 'run-both-ways: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'run-both-ways: error: %s (see --help)\n' "$*" >&2; exit 2; }

ranks=2 mpirun=mpirun menndl=menndl
while (($#)); do
    case $1 in
        --help) usage; exit ;;
        -n) ranks=${2:-}; shift ;;
        --mpirun) mpirun=${2:-}; shift ;;
        --menndl) menndl=${2:-}; shift ;;
        -*) misuse "unknown option $1" ;;
        *) break ;;
    esac
    shift
done
(($# >= 3)) || misuse "expected IMAGE SEARCH RUN"
[[ $ranks =~ ^[1-9][0-9]*$ ]] || misuse "-n ${ranks:-nothing}: expected a number of ranks"
mpirun=$(command -v -- "$mpirun") || misuse "no $mpirun here"
image=$1 search=$2 run=$3
shift 3
in_image=("$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/exec.sh")

# The launch of the second way: what stands before `menndl run`.
hybrid_launch() {
    local version prefix
    version=$("$mpirun" --version 2>&1)
    version=${version%%$'\n'*}
    prefix=$(dirname -- "$(dirname -- "$mpirun")")
    if [[ $version == *'Open MPI) 4.'* ]]; then
        launch=("$mpirun" -n "$ranks" "${in_image[@]}" "$image")
    elif compgen -G "$prefix/lib/libmpi.so.*" >/dev/null; then
        launch=("$mpirun" -n "$ranks" "${in_image[@]}" --host-mpi "$prefix" "$image")
    else
        launch=("${in_image[@]}" "$image" mpirun -n "$ranks")
    fi
}

# What was found, without what depends on the moment: who trained it, when, and for how long.
found() { # FOLDER
    grep '"event": "result"' "$1/journal.jsonl" | sed -E 's/, "(started|seconds|engine_seconds)": [^,}]*//g
        s/, "rank": [^,}]*//; s/, "host": "[^"]*"//' | sort
}

TMPDIR=$(mktemp -d) # of a job that was killed Open MPI 5 leaves TMPDIR/ompi.PID, and none starts under that id again
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

export MENNDL_TRAINER
MENNDL_TRAINER=$(printf '%q ' "${in_image[@]}" "$image" python3 -m menndl_caffe.trainer caffe)
say "MPI and menndl on the host, $ranks trainers in $image"
"$mpirun" -n "$ranks" "$menndl" run "$search" --out "$run/split" --expect-ranks "$ranks" "$@"
unset MENNDL_TRAINER

hybrid_launch
say "all in the image: $(printf '%q ' "${launch[@]}")menndl run"
"${launch[@]}" menndl run "$search" --out "$run/hybrid" --expect-ranks "$ranks" "$@"

split=$(found "$run/split" | wc -l) hybrid=$(found "$run/hybrid" | wc -l)
if ! grep -q '"generation": [0-9]' "$run/split/journal.jsonl"; then
    ((split == hybrid)) || fail "$split results one way, $hybrid the other: $run"
    say "$split results both ways: $run"
    exit
fi
diff <(found "$run/split") <(found "$run/hybrid") >"$run/differences" ||
    fail "the two ways found different things, see $run/differences"
say "the same $split results both ways, to the last digit: $run"
