#!/usr/bin/env bash
# A real Slurm of one node for tests: slurmctld, slurmd and munged of Debian with all their state in one folder, on
# ports and sockets of their own, beside whatever else the machine runs.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: one-node-slurm.sh start|stop DIR

start   installs slurmctld, slurmd, slurm-client, munge, slurm-wlm-basic-plugins and libpmix-dev with apt-get where they
        are missing, starts the daemons with their state in DIR and waits until the node is idle. The node offers 4
        CPUs and 4 GPUs, whatever the machine has. Then use it with: export SLURM_CONF=DIR/slurm.conf
stop    ends all jobs and the daemons, these by their process ids; DIR remains, with the logs

Needs root. DIR's path must be short and without spaces: sockets live in it.
TEXT
}

packages=(slurmctld slurmd slurm-client munge slurm-wlm-basic-plugins libpmix-dev)
daemons=(slurmd slurmctld munged)

say() { printf 'one-node-slurm: %s\n' "$*"; }
fail() { printf 'one-node-slurm: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'one-node-slurm: error: %s (see --help)\n' "$*" >&2; exit 2; }

# shellcheck source=containers/host.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../../containers/host.sh"

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        [[ $(dpkg-query -f '${db:Status-Status}' -W "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    install_on_host "${missing[@]}" >"$dir/apt.log" 2>&1 ||
        fail "apt-get cannot install ${missing[*]}; see $dir/apt.log"
}

free_port() { # 0 or 1: an even or an odd one
    local port
    while :; do
        port=$((20000 + RANDOM % 5000 * 2 + $1))
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { printf '%s' "$port"; return; }
    done
}

# The GPUs are consoles: Slurm only wants device files to count, to give to steps, and to number for CUDA_VISIBLE_DEVICES.
configure() {
    local host
    host=$(hostname -s)
    echo 'Name=gpu File=/dev/tty[0-3]' >"$dir/gres.conf"
    cat >"$dir/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge.socket
SlurmctldPort=$(free_port 0)
SlurmdPort=$(free_port 1)
StateSaveLocation=$dir/slurmctld
SlurmdSpoolDir=$dir/slurmd
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
MpiDefault=none
ReturnToService=2
KillWait=5
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 CoresPerSocket=4 RealMemory=4000 Gres=gpu:4
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
CONF
}

start_munged() {
    (umask 077 && head -c 128 /dev/urandom >"$dir/munge.key")
    munged --force --socket="$dir/munge.socket" --key-file="$dir/munge.key" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" || fail "munged does not start; see $dir/munged.log"
}

wait_until_idle() {
    local tries state=''
    for ((tries = 0; tries < 240; tries++)); do
        state=$(sinfo -h -o %T 2>/dev/null || true)
        [[ $state == idle ]] && return
        sleep 0.5
    done
    fail "the node is ${state:-not there} after two minutes, idle was expected; see the logs in $dir"
}

start() {
    ((EUID == 0)) || fail "needs root, slurmd starts jobs as their users"
    [[ $dir != *[[:space:]]* ]] || misuse "DIR must not contain spaces, found $dir"
    ((${#dir} <= 80)) || misuse "DIR's path must not be longer than 80 characters, found ${#dir}: $dir"
    [[ -z $(pid_of slurmctld) ]] || fail "one is running in $dir: stop it first"
    mkdir -p "$dir/slurmctld" "$dir/slurmd"
    chmod 755 "$dir"
    install_packages
    configure
    start_munged
    slurmctld -f "$dir/slurm.conf"
    slurmd -f "$dir/slurm.conf"
    SLURM_CONF=$dir/slurm.conf wait_until_idle
    say "running; use it with: export SLURM_CONF=$dir/slurm.conf"
}

# A pid file may outlive its daemon, so the process must still be the one that it names.
pid_of() { # DAEMON
    local pid
    pid=$(cat "$dir/$1.pid" 2>/dev/null || true)
    if [[ -n $pid && $(cat "/proc/$pid/comm" 2>/dev/null) == "$1" ]]; then printf '%s' "$pid"; fi
}

cancel_jobs() {
    local tries
    export SLURM_CONF=$dir/slurm.conf
    for ((tries = 0; tries < 100; tries++)); do
        [[ -n $(squeue -h) ]] || return 0
        squeue -h -o %A | xargs scancel
        sleep 0.2
    done
    say "warning: some jobs do not end"
}

stop() {
    local daemon pid tries
    [[ -z $(pid_of slurmctld) || -z $(pid_of munged) ]] || cancel_jobs
    for daemon in "${daemons[@]}"; do
        pid=$(pid_of "$daemon")
        [[ -n $pid ]] || continue
        kill "$pid"
        for ((tries = 0; tries < 100; tries++)); do
            [[ -e /proc/$pid ]] || break
            sleep 0.1
        done
        [[ ! -e /proc/$pid ]] || fail "$daemon ($pid) does not end"
    done
    say "stopped"
}

[[ ${1:-} != --help ]] || { usage; exit; }
(($# == 2)) || misuse "start or stop, and a folder, were expected"
dir=$(readlink -m -- "$2")
case $1 in
    start) start ;;
    stop) stop ;;
    *) misuse "start or stop was expected, found $1" ;;
esac
