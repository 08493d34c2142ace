#!/usr/bin/env bash
# One node's own copy of a data folder, for one job. A copy has a lock file of its own for LMDB, which must never be
# shared between users; the data's own folder is only read.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: stage-data.sh DATA LOCAL                 copies DATA to LOCAL/data; once, however often it is called on a node
       stage-data.sh --hold LOCAL COMMAND ...   runs COMMAND, which uses the copy; when it is told to end (TERM, INT),
                                                the last one on the node that does so removes LOCAL
       stage-data.sh --remove LOCAL             removes LOCAL

LOCAL is a folder of this job alone, named ROOT/menndl-UID-JOB. Copies of the same user in ROOT that nobody has held for
an hour are of jobs that died, and are removed on the way.
TEXT
}

stale_minutes=60
not_copied=(--exclude=lock.mdb --exclude=.menndl_partial --exclude='*.tar' --exclude='*.tar.gz' --exclude='*.tgz')

say() { printf 'stage-data: %s: %s\n' "$(hostname -s)" "$*"; }
fail() { printf 'stage-data: %s: error: %s\n' "$(hostname -s)" "$*" >&2; exit 1; }
misuse() { printf 'stage-data: error: %s (see --help)\n' "$*" >&2; exit 2; }

# LOCAL may vanish between its making and its locking, when a copy that died under this name is being removed.
lock_exclusively() {
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        (umask 077 && mkdir -p -- "$local") || fail "cannot make $local"
        [[ -O $local && ! -L $local ]] || fail "$local belongs to somebody else"
        if { exec {lock}>>"$local/lock"; } 2>/dev/null; then
            flock "$lock"
            if [[ /proc/self/fd/$lock -ef $local/lock ]]; then return; fi
            exec {lock}>&-
        fi
        sleep 0.1
    done
    fail "cannot lock $local/lock"
}

remove_stale() {
    local copy
    for copy in "${local%/*}/menndl-$UID-"*; do
        [[ -O $copy && $copy != "$local" && -n $(find "$copy/lock" -mmin "+$stale_minutes" 2>/dev/null) ]] || continue
        if flock -n "$copy/lock" rm -rf -- "$copy"; then say "removed $copy, left behind by a job that died"; fi
    done
}

megabytes() { du -sLm "${not_copied[@]}" -- "$data" | cut -f 1; }

check_space() {
    local free
    free=$(df -Pm -- "$local" | awk 'NR == 2 { print $4 }')
    ((free > $(megabytes))) || fail "$free MB are free for $local, the data needs $(megabytes) MB"
}

copy() {
    tar -C "$data" "${not_copied[@]}" --mode=u+rwX -Shcf - . | tar -C "$local/partial" --no-same-owner -xf -
}

# Whatever still writes into LOCAL may be in the way for a moment.
discard() {
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        if rm -rf -- "$local" 2>/dev/null; then return 0; fi # in a trap, a bare return is not 0
        sleep 0.1
    done
    fail "cannot remove $local"
}

# As a background process, so that a signal is heard while it runs.
stage() {
    local contents
    lock_exclusively
    remove_stale
    contents=$(find -L "$data" -type f -printf '%P %s %T@\n' | sort)
    if [[ -d $local/data && $(cat "$local/source") == "$data"$'\n'"$contents" ]]; then return; fi
    rm -rf -- "$local/data" "$local/partial"
    check_space
    trap 'discard; exit 143' TERM INT
    mkdir "$local/partial"
    copy &
    wait $! || { discard; fail "cannot copy $data to $local"; }
    printf '%s\n%s\n' "$data" "$contents" >"$local/source"
    mv -- "$local/partial" "$local/data"
    say "$(megabytes) MB of $data are in $local/data after $SECONDS s"
}

# The command itself does not inherit the lock: it may leave processes behind. The lock's descriptor is one that is free,
# for a launcher may have left the rank others, such as MPICH's PMI_FD.
hold() {
    local code=0
    [[ -d $local/data ]] || fail "no data in $local"
    exec {lock}<"$local/lock"
    flock -s "$lock"
    touch -c -- "$local/lock"
    trap let_go TERM INT
    (exec {lock}<&- && exec "$@") <&0 &
    wait "$!" || code=$?
    end_as "$code"
}

# A fault-tolerant MPI goes on when a rank is killed, and waits for ever for one that leaves without a word.
end_as() { # EXIT CODE OF THE COMMAND
    trap - TERM INT
    (($1 <= 128)) || kill "-$(($1 - 128))" $$
    exit "$1"
}

# First things first: some launchers kill a moment after they told to end. What the command's end was it says itself, as
# launchers tell the others to end when the first one does, and have one exit code for all. It may not have begun yet.
let_go() {
    local code=0 command=${!:-}
    trap '' TERM INT
    [[ -z $command ]] || kill "$command" 2>/dev/null || true
    if flock -n -x "$lock"; then discard; fi
    [[ -n $command ]] || end_as 143
    wait "$command" || code=$?
    end_as "$code"
}

remove() {
    if [[ -O $local && ! -L $local ]]; then discard; fi
}

local_folder() {
    local=$1
    [[ ${local##*/} == menndl-"$UID"-?* && $local == /* ]] || misuse "LOCAL must be ROOT/menndl-$UID-JOB, found $local"
}

case ${1:-} in
    --help) usage ;;
    --hold) (($# > 2)) || misuse "LOCAL and a command were expected"; local_folder "$2"; shift 2; hold "$@" ;;
    --remove) (($# == 2)) || misuse "LOCAL was expected"; local_folder "$2"; remove ;;
    -*) misuse "unknown option $1" ;;
    *)
        (($# == 2)) || misuse "DATA and LOCAL were expected"
        [[ -d $1 ]] || misuse "$1: no such folder"
        data=$(readlink -f -- "$1")
        local_folder "$2"
        stage
        ;;
esac
