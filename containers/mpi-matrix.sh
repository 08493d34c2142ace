#!/usr/bin/env bash
# Every combination of a host's MPI, an image's MPI and the way in which they meet: each is run, and a table says what
# came of it.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'TEXT'
usage: mpi-matrix.sh [-n RANKS] [--install] [--markdown FILE] [DIR]

Runs RANKS ranks in every combination of

  launcher   Debian's Open MPI 4.1 where the host has it, pip's Open MPI 5, pip's MPICH: each with menndl and mpi4py in
             a virtual environment of its own under DIR (default: build/mpi-matrix of this repository)
  way        split: menndl and MPI on the host, the trainers in the image       hybrid: the image's own MPI
             bind: the host's MPI in place of the image's (exec.sh --host-mpi)   inside: the image's own launcher
  image      build/menndl-caffe.sif (Open MPI) and build/menndl-caffe-mpich.sif (MPICH)

twice: menndl with --expect-ranks (`menndl doctor --mpi`; for split a search of two individuals), and a ring of messages
of 4 MB by mpi4py alone, which does not look at the size of its world. Prints a table as Markdown, and ends with exit
code 0 if every combination does what is known of it, else 1. About three minutes on two cores.

  -n RANKS         how many, 2 or more (default: 3)
  --install        as root: apt-get install openmpi-bin where it is missing. It is the machine's mpirun from then on
  --markdown FILE  write the table there too
  --help           this text
TEXT
}

say() { printf 'mpi-matrix: %3d s  %s\n' "$SECONDS" "$*" >&2; }
fail() { printf 'mpi-matrix: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'mpi-matrix: error: %s (see --help)\n' "$*" >&2; exit 2; }

# shellcheck source=containers/host.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/host.sh"

in_image=$containers/exec.sh
declare -A images=([openmpi]=$repository/build/menndl-caffe.sif [mpich]=$repository/build/menndl-caffe-mpich.sif)
seconds_allowed=60

# What is known. caught: the ranks do not find each other, and --expect-ranks tells. fails: MPI or exec.sh does.
# launcher way in-openmpi's-image in-mpich's-image
known='
openmpi4 split  works  works
openmpi4 hybrid works  caught
openmpi4 bind   fails  fails
openmpi5 split  works  works
openmpi5 hybrid caught caught
openmpi5 bind   works  caught
mpich    split  works  works
mpich    hybrid caught works
mpich    bind   fails  works
own      inside works  works
'

# A wrong set-up may be a world of the right size whose ranks cannot send each other what is long.
ring='
import re
from mpi4py import MPI

world = MPI.COMM_WORLD
left, right = (world.rank - 1) % world.size, (world.rank + 1) % world.size
received = bytearray(4000000)
world.Sendrecv(bytes([world.rank % 256]) * len(received), right, recvbuf=received, source=left)
assert received == bytes([left % 256]) * len(received), "rank %d got what rank %d has not sent" % (world.rank, left)
name, version = re.match(r"(Open MPI|MPICH)\D*([\d.]+)", MPI.Get_library_version()).groups()
print("[world of %d, %s %s]" % (world.size, name, version), flush=True)
'

# Open MPI 4 and 5: work as root, and with more ranks than cores; other MPIs do not look at these.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none

# ------------------------------------------------------------------------------------------------------------ Launchers

version_of() { # COMMAND ...: of the launcher that it runs
    "$@" --version 2>&1 | grep -m 1 -oE '[0-9]+\.[0-9]+\.[0-9]+' || true
}

debians_openmpi4() {
    local launcher
    launcher=$(command -v mpirun.openmpi) || return 1
    [[ $(version_of "$launcher") == 4.1.* ]] && printf '%s' "$launcher"
}

install_openmpi4() {
    if debians_openmpi4 >/dev/null; then return; fi
    say "installing Debian's openmpi-bin on this machine"
    install_on_host openmpi-bin >"$dir/apt.log" 2>&1 ||
        { tail -n 5 "$dir/apt.log" >&2; fail "apt-get install openmpi-bin does not work here"; }
}

# Debian's python3 may come without ensurepip, then the system's pip puts pip into a virtual environment.
make_venv() { # FOLDER
    python3 -m venv --clear "$1" ||
        { python3 -m venv --clear --without-pip "$1" && python3 -m pip --python "$1/bin/python" install pip; }
}

# A virtual environment with menndl and mpi4py, and with an MPI where one is named.
provide() { # NAME [PACKAGE]
    local venv=$dir/$1
    if [[ $venv/.complete -nt $repository/pyproject.toml ]]; then return; fi
    say "installing menndl and ${2:-mpi4py} into $venv"
    { make_venv "$venv" && "$venv/bin/python" -m pip install --disable-pip-version-check --editable "$repository" \
        "${@:2}"; } >"$dir/pip.log" 2>&1 || { tail -n 3 "$dir/pip.log" >&2; fail "pip cannot install menndl $*"; }
    touch "$venv/.complete"
}

declare -A mpirun=() launcher_name=() image_name=()
prepare_launchers() {
    provide openmpi5 openmpi
    provide mpich mpich
    mpirun=([openmpi5]=$dir/openmpi5/bin/mpirun [mpich]=$dir/mpich/bin/mpirun)
    launcher_name=([openmpi4]="Debian's Open MPI 4.1" [own]="the image's own"
        [openmpi5]="pip's Open MPI $(version_of "${mpirun[openmpi5]}")"
        [mpich]="pip's MPICH $(version_of "${mpirun[mpich]}")")
    if mpirun[openmpi4]=$(debians_openmpi4); then
        provide openmpi4
        launcher_name[openmpi4]="Debian's Open MPI $(version_of "${mpirun[openmpi4]}")"
    fi
}

# The first command in an image unpacks it where images cannot be mounted: not within a combination's minute.
prepare_images() {
    image_name=([openmpi]="Open MPI $(version_of "$in_image" "${images[openmpi]}" mpirun)"
        [mpich]="MPICH $(version_of "$in_image" "${images[mpich]}" mpirun)")
    [[ ${image_name[openmpi]} == *.* && ${image_name[mpich]} == *.* ]] ||
        fail "no MPI runs in the images: $in_image ${images[mpich]} mpirun --version"
}

prepare_search() {
    sed 's/^ga_param .*/ga_param { population: 2 generations: 1 }/; /^confirm /d' "$repository/solvers/quick.search.prototxt" \
        >"$dir/two.search.prototxt"
    if [[ ! -e $dir/data/dataset.json ]]; then
        "$dir/openmpi5/bin/menndl" data synthetic --out "$dir/data" >"$dir/data.log" 2>&1 ||
            { tail -n 1 "$dir/data.log" >&2; fail "no synthetic images in $dir/data"; }
    fi
}

# --------------------------------------------------------------------------------------------------------- Combinations

# Sets what starts the ranks, their Python, and the command of menndl that looks at the size of the world.
describe() { # LAUNCHER WAY IMAGE-FILE
    local trainer=("$in_image" --bind "$dir" "$3" python3 -m menndl_caffe.trainer caffe)
    launch=("${mpirun[$1]:-}" -n "$ranks") python=python3 check=(menndl doctor --mpi --expect-ranks "$ranks")
    case $2 in
        split)
            python=$dir/$1/bin/python
            check=(env "MENNDL_TRAINER=$(printf '%q ' "${trainer[@]}")" "$dir/$1/bin/menndl" run --expect-ranks "$ranks"
                "$dir/two.search.prototxt" --out "$log.run" --data "$dir/data" --iterations 1) ;;
        hybrid) launch+=("$in_image" "$3") ;;
        bind) launch+=("$in_image" --host-mpi "$(dirname -- "$(dirname -- "${mpirun[$1]}")")" "$3") ;;
        inside) launch=("$in_image" "$3" mpirun -n "$ranks") ;;
    esac
}

# Its exit code, and all that it says.
exit_code() { # LOG COMMAND ...
    local code=0
    timeout --kill-after 5 "$seconds_allowed" "${@:2}" >"$1" 2>&1 </dev/null || code=$?
    if ((code == 124)); then echo "no end after $seconds_allowed s" >>"$1"; fi
    echo "$code"
}

# MPI's libraries and launchers say much after it.
first_error() { grep -m 1 -i 'error' "$1" || tail -n 1 "$1"; }

# What all ranks say, once; ranks may print into each other's lines.
alike() { grep -o "$1" "$2" | sort -u | paste -s -d ' '; } # PATTERN LOG

worlds_of() { # SIZE: how many ranks of the ring said that their world has it
    grep -o "\[world of $1," "$log.ring" | wc -l
}

# Runs a combination; sets its outcome, works, caught or fails, and what is to say about it.
try() { # LAUNCHER WAY IMAGE
    local launch=() python check=() checked rang
    log=$dir/log/$1-$2-$3
    describe "$1" "$2" "${images[$3]}"
    rm -rf "$log.run"
    checked=$(exit_code "$log.menndl" "${launch[@]}" "${check[@]}")
    rang=$(exit_code "$log.ring" "${launch[@]}" "$python" -c "$ring")
    if ((checked == 2)) && grep -q 'the MPI world has' "$log.menndl"; then
        outcome=caught said="exit code 2: $(alike 'the MPI world has [^:]*' "$log.menndl")"
    elif ((checked)); then
        outcome=fails said="exit code $checked: $(first_error "$log.menndl")"
    elif ((rang)); then
        outcome=fails said="menndl finds nothing wrong, but messages do not pass: $(first_error "$log.ring")"
    elif (($(worlds_of "$ranks") != ranks)); then
        outcome=fails said="menndl finds nothing wrong, but the ranks do not find each other"
    else
        outcome=works said=$(alike 'world of [^]]*' "$log.ring" | cut -d ' ' -f 4-)
    fi
    without_check="exit code $rang"
    if (($(worlds_of 1))); then without_check+=", $(worlds_of 1) worlds of 1 rank"; fi
}

# A combination's cell in the table; what is wrong goes into the second table as well.
cell() { # LAUNCHER WAY IMAGE KNOWN
    local outcome said without_check log
    if [[ $1 == openmpi4 && -z ${mpirun[openmpi4]} ]]; then cell='not here'; return; fi
    try "$1" "$2" "$3"
    say "${launcher_name[$1]}, $2, image with ${image_name[$3]}: $outcome, $said"
    cell=$outcome
    if [[ $outcome == works ]]; then
        cell="works: $said"
    else
        wrong+=$'\n'"| ${launcher_name[$1]} | $2 | ${image_name[$3]} | ${said//|/ } | $without_check |"
    fi
    if [[ $outcome != "$4" ]]; then
        cell="**$cell**"
        unexpected+=("$1-$2-$3 $outcome, known: $4 ($log.*)")
    fi
}

run_all() {
    local launcher way with_openmpi with_mpich row
    while read -r launcher way with_openmpi with_mpich <&3; do
        [[ -n $launcher ]] || continue
        row="| ${launcher_name[$launcher]} | $way |"
        cell "$launcher" "$way" openmpi "$with_openmpi"
        row+=" $cell |"
        cell "$launcher" "$way" mpich "$with_mpich"
        rows+=$'\n'"$row $cell |"
    done 3<<<"$known"
}

document() {
    local system user="an ordinary user, each rank's container in a user namespace of its own"
    if ((EUID == 0)); then user=root; fi
    system=$(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release)
    cat <<TEXT
# The MPI matrix

Written by \`containers/mpi-matrix.sh --markdown\` on $(date +%F): $ranks ranks on one node ($system,
$("$(find_apptainer)" --version)), as $user.
Its \`--help\` says what the ways are and how each is run. After "works": the MPI library that the ranks had.

| launcher | way | image with ${image_name[openmpi]} | image with ${image_name[mpich]} |
|---|---|---|---|$rows

What does not work, and what it looks like with menndl's check and without:

| launcher | way | image | \`menndl ... --expect-ranks $ranks\` | mpi4py alone |
|---|---|---|---|---|$wrong
TEXT
}

ranks=3 install='' markdown='' dir=''
while (($#)); do
    case $1 in
        --help) usage; exit ;;
        -n) ranks=${2:-}; shift $(($# > 1)) ;;
        --install) install=1 ;;
        --markdown) [[ -n ${2:-} ]] || misuse "--markdown needs a file"; markdown=$2; shift ;;
        -*) misuse "unknown option $1" ;;
        *) [[ -z $dir ]] || misuse "one DIR only, found $dir and $1"; dir=$1 ;;
    esac
    shift
done
[[ $ranks =~ ^[1-9][0-9]*$ && $ranks != 1 ]] || misuse "-n ${ranks:-nothing}: expected a number of ranks, 2 or more"
[[ -z $install ]] || ((EUID == 0)) || misuse "--install is for root"
[[ -z $markdown || -d $(dirname -- "$markdown") ]] || misuse "--markdown $markdown: its folder does not exist"
[[ -e ${images[openmpi]} ]] || misuse "no image at ${images[openmpi]}: make container builds it"
[[ -e ${images[mpich]} ]] || misuse "no image at ${images[mpich]}: $containers/build.sh --mpich builds it"
find_apptainer >/dev/null || misuse "no apptainer or singularity here: run $containers/install-apptainer.sh"
dir=$(readlink -m -- "${dir:-$repository/build/mpi-matrix}")
mkdir -p "$dir/log"

if [[ -n $install ]]; then install_openmpi4; fi
prepare_launchers
prepare_images
prepare_search
rows='' wrong='' unexpected=()
run_all
document
if [[ -n $markdown ]]; then document >"$markdown"; fi
((${#unexpected[@]} == 0)) || fail "not as known: $(printf '%s; ' "${unexpected[@]}")"
