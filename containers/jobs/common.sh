# shellcheck shell=bash
# What the job scripts of this folder share; sourced by them. A job script says what its scheduler gives and how it does
# things, and then calls stage, doctor and search:
#     SEARCH RUN DATA ENGINE IMAGE       the user's settings, with defaults
#     JOB RANKS THREADS GPUS             the job's id, ranks in all, cores of a rank, GPUs of a rank (0 or 1)
#     local_roots=(FOLDER ...)           where a node may keep its copy of the data; the first that will do is taken
#     per_node, per_rank COMMAND ...     run a command once on every node; on every rank, under MPI: both by `launch`
#     seconds_left                       prints what is left of the job's time; nothing where it has no limit
#     next_job                           lets the job begin anew
# More settings, for all of them:
#     LOCAL_ROOT       the node-local folder, in place of the choice among local_roots
#     TRAINERS_ONLY    yes: menndl and MPI are the host's, and only the trainers are in IMAGE; no MPI versions need to fit
#     HOST_MPI         a folder with the host's MPI, for an image that is to run with it (exec.sh --host-mpi)
#     MARGIN           seconds before the job's end at which the search stops
set -euo pipefail

TRAINERS_ONLY=${TRAINERS_ONLY:-} HOST_MPI=${HOST_MPI:-} MARGIN=${MARGIN:-120}

jobs=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
containers=${jobs%/*}
time_is_up=75        # menndl's exit code when it stopped in time: the same command again goes on
idle_jobs_allowed=2  # so many jobs in a row may end without a new result before no other one is started
ours='ext*|xfs|btrfs|zfs|tmpfs|ramfs|overlayfs'  # types of file systems that are a node's own

say() { printf 'job: %s\n' "$*"; }
fail() { printf 'job: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'job: error: %s\n' "$*" >&2; exit 2; }

# The first of the folders that is here, may be written to, is the node's own, and has room for the data. Where the
# script does not run on a compute node, there is one candidate that need not exist here.
choose_local_root() {
    local root need
    (($# > 1)) || { printf '%s' "$1"; return; }
    need=$(du -sLm -- "$DATA" | cut -f 1)
    for root; do
        [[ -n $root && -d $root && -w $root ]] || continue
        # shellcheck disable=SC2053  # a pattern
        [[ $(stat -f -c %T -- "$root") == @($ours) ]] || continue
        (($(df -Pm -- "$root" | awk 'NR == 2 { print $4 }') > need)) || continue
        printf '%s' "$root"
        return
    done
    fail "none of $* is a writable folder of the node's own with $need MB free: set LOCAL_ROOT"
}

# The command menndl as an array: in the image, or of this host. And status, which asks it how far RUN is, on this host.
find_menndl() {
    local trainer in_image=("$containers/exec.sh" --bind "$LOCAL" --bind "$RUN")
    ((GPUS == 0)) || in_image+=(--nv)
    [[ -z $HOST_MPI || -n $TRAINERS_ONLY ]] || in_image+=(--host-mpi "$HOST_MPI")
    [[ ! -f $SEARCH ]] || in_image+=(--bind "$(dirname -- "$(readlink -f -- "$SEARCH")")")
    if [[ -n $IMAGE && -z $TRAINERS_ONLY ]]; then
        menndl=("${in_image[@]}" "$IMAGE" menndl)
        status=("$containers/exec.sh" --bind "$RUN" "$IMAGE" menndl status)
        return
    fi
    if [[ -n $IMAGE ]]; then
        trainer=("${in_image[@]}" "$IMAGE" python3 -m menndl_caffe.trainer "$ENGINE")
        export MENNDL_TRAINER="${trainer[*]@Q}"
    fi
    menndl=("$(command -v menndl || true)")
    [[ -n ${menndl[0]} ]] || menndl=("$containers/../build/venv/bin/menndl")
    [[ -x ${menndl[0]} ]] || misuse "no menndl in PATH or build/venv: run make build/venv/run, or set IMAGE to a .sif"
    status=("${menndl[0]}" status)
}

# At its end, however it comes, a job removes its copies by its launcher. Where the job is killed no launcher starts
# anything any more, and the ranks themselves see to it (stage-data.sh --hold).
prepare() {
    [[ -d $DATA ]] || misuse "DATA=$DATA: no such folder; menndl data cifar10 makes data/cifar10"
    [[ -z $IMAGE || -e $IMAGE ]] || misuse "IMAGE=$IMAGE: no such image; make container makes build/menndl-caffe.sif"
    mkdir -p -- "$RUN"
    RUN=$(readlink -f -- "$RUN") DATA=$(readlink -f -- "$DATA")
    LOCAL_ROOT=${LOCAL_ROOT:-$(choose_local_root "${local_roots[@]}")}
    LOCAL=$LOCAL_ROOT/menndl-$UID-$JOB
    find_menndl
    trap clean_up EXIT
    trap stop TERM INT
}

# Launchers run in the background, so that a signal is heard while they do: at any moment, also before a variable could
# take $! over.
launch() {
    "$@" &
    wait "$!"
}

stop() {
    trap '' TERM INT
    trap - EXIT
    kill "${!:-}" 2>/dev/null && wait "$!" || true
    "$jobs/stage-data.sh" --remove "$LOCAL"
    exit 143
}

clean_up() {
    trap - EXIT
    per_node "$jobs/stage-data.sh" --remove "$LOCAL" || say "warning: $LOCAL may be left on some node"
}

stage() {
    prepare
    say "$RANKS ranks of $THREADS cores and $GPUS GPUs; $DATA goes to $LOCAL on every node"
    per_node "$jobs/stage-data.sh" "$DATA" "$LOCAL"
}

# Every rank holds the copy while it runs, and has its GPU before anything of it looks for GPUs.
on_ranks() { per_rank "$jobs/stage-data.sh" --hold "$LOCAL" "$jobs/gpu-of-rank.sh" "${menndl[@]}" "$@"; }

doctor() { on_ranks doctor --mpi --expect-ranks "$RANKS" --engine "$ENGINE" --data "$LOCAL/data" --search "$SEARCH"; }

results() { cat -- "$RUN/journal.jsonl" 2>/dev/null | grep -c '"event": "result"' || true; }

# A launcher may say 0 where it was killed with all of its ranks, or they one by one: the run itself knows.
is_complete() { [[ $("${status[@]}" --json "$RUN") == *'"complete": true'* ]]; }

search() {
    local left time_limit=() before code=0
    left=$(seconds_left)
    if [[ -n $left ]]; then
        ((left > MARGIN)) || fail "$left seconds are left of this job, more than MARGIN=$MARGIN are needed"
        time_limit=(--time-limit $((left - MARGIN)))
    fi
    before=$(results)
    on_ranks run "$SEARCH" --out "$RUN" --engine "$ENGINE" --threads "$THREADS" --data "$LOCAL/data" \
        --expect-ranks "$RANKS" "${time_limit[@]}" || code=$?
    clean_up
    say "menndl run ended with exit code $code, $(results) results are recorded"
    ((code != time_is_up)) || go_on "$before"
    ((code != 0)) || is_complete || fail "but the search is not complete; the same job script again goes on"
    exit "$code"
}

# Time was up. A job that gets nowhere must not be repeated for ever.
go_on() { # RESULTS BEFORE
    local idle=$RUN/jobs-without-result
    if (($(results) > $1)); then rm -f -- "$idle"; else echo "job $JOB" >>"$idle"; fi
    if [[ -e $idle ]] && (($(wc -l <"$idle") > idle_jobs_allowed)); then
        fail "$((idle_jobs_allowed + 1)) jobs in a row had no new result, no other one follows; once mended, remove $idle"
    fi
    say "time is up, the rest is for the next job"
    next_job || fail "the next job could not be queued; the same job script again goes on"
}
