#!/usr/bin/env bash
# An image with real Caffe and menndl, from this repository and a Debian mirror. No daemon; root or not.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'TEXT'
usage: build.sh [--alone | --mpich] [--mirror URL] [--security URL] [--force] [IMAGE]

Builds IMAGE (default: build/menndl-caffe.sif) of containers/menndl-caffe.def and runs its tests. An image that is as
new as all that it is made of is only tested. Everything is written under build/.

  --alone         the definition by itself, as `apptainer build` does it (2 minutes), not over a root file system that
                  is made first and kept for the next time (1 minute, then 10 seconds)
  --mpich         Titan's manner: containers/menndl-caffe-mpich.def over the first image, into menndl-caffe-mpich.sif
  --mirror URL    a Debian mirror that carries bullseye (also: MIRROR=URL); default: the one this machine's apt uses
  --security URL  a mirror of its security updates (default: none, so that the versions are those of packages.lock)
  --force         build anew
  --help          this text

Where the mirror has bullseye no more, archives of old releases take its place: ARCHIVE=URL, or those that the machine's
own configuration leads to.

The host needs pip and mmdebstrap (debootstrap for --alone), and for an ordinary user also uidmap and a line in
/etc/subuid.
TEXT
}

say() { printf 'build: %3d s  %s\n' "$SECONDS" "$*"; }
fail() { printf 'build: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'build: error: %s (see --help)\n' "$*" >&2; exit 2; }

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=containers/host.sh
. "$here/host.sh"
# shellcheck source=containers/private-apt.sh
. "$here/private-apt.sh"

work=$repository/build/container
dir=$repository/build megabytes_needed=3000 # for private-apt.sh

# What makes an image: its definitions, its packages, and menndl as it lies here.
inputs() {
    find "$containers"/{menndl-caffe.def,menndl-caffe-mpich.def,image-packages,python.lock,mpich.lock} \
        "$repository"/{menndl_caffe,templates,solvers} -type f ! -name '*.pyc'
}

up_to_date() { # IMAGE
    [[ -e $1 && -z $force ]] || return 1
    [[ -z $(inputs | tr '\n' '\0' | xargs -0 -I {} find {} -newer "$1") ]]
}

install_packages() { # COMMAND PACKAGE ...
    local command=$1
    shift
    if command -v "$command" >/dev/null; then return; fi
    ((EUID == 0)) || fail "$command is missing: ask root for apt-get install $*"
    say "installing Debian's $* on this machine"
    install_on_host "$@" >"$work/apt.log" 2>&1 ||
        { tail -n 5 "$work/apt.log" >&2; fail "apt-get install $* does not work here"; }
}

# Where users can be mapped: an image's files belong to many.
require_user_ids() {
    if ((EUID == 0)); then return; fi
    command -v newuidmap >/dev/null || fail "newuidmap is missing: ask root for apt-get install uidmap"
    grep -q "^$(id -un):" /etc/subuid ||
        fail "you have no further user ids: ask root for usermod --add-subuids 100000-165535 $(id -un), and subgids"
}

as_root() { if ((EUID == 0)); then "$@"; else unshare --user --map-root-user --map-auto "$@"; fi; }

as_full_root() { if lacks_capabilities; then "$containers/identity-namespace.py" "$@"; else "$@"; fi; }

# Device files are left out: they cannot be made everywhere, and every container gets its own.
make_rootfs() {
    local packages what keyrings
    packages=$(grep -v '^#' "$containers/image-packages" | paste -s -d ,)
    what="$mirror $security $packages"
    if [[ -z $force && $(cat "$work/rootfs.made" 2>/dev/null) == "$what" ]]; then return; fi
    install_packages mmdebstrap mmdebstrap
    find_suite "$work/apt" bullseye "$containers/packages.lock"
    say "a root file system of bullseye from $mirror"
    rm -f "$work/rootfs.made"
    as_root rm -rf "$work/rootfs"
    mkdir "$work/rootfs"
    mapfile -d , -t keyrings < <(archive_keyring)
    mmdebstrap --quiet --variant=minbase --include="$packages" --format=tar "${keyrings[@]/#/--keyring=}" \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
        --aptopt='Acquire::Retries "5"' --dpkgopt=force-unsafe-io bullseye - "deb $mirror bullseye main" \
        ${security:+"deb $security bullseye-security main"} 2>"$work/mmdebstrap.log" |
        as_root tar -x -C "$work/rootfs" --exclude='./dev/*' ||
        { tail -n 5 "$work/mmdebstrap.log" >&2; fail "no root file system; the whole log: $work/mmdebstrap.log"; }
    printf '%s' "$what" >"$work/rootfs.made"
}

# A commit names an image only if the tree is that commit's.
commit() {
    local name
    name=$(git -C "$repository" rev-parse HEAD 2>/dev/null) || { echo unknown; return; }
    git -C "$repository" diff --quiet HEAD -- menndl_caffe templates solvers containers || name+=+changes
    echo "$name"
}

# Tested afterwards, as it will be run. %files are relative to the working directory.
apptainer_build() { # IMAGE OPTION ... DEFINITION
    local image=$1 compression=()
    shift
    if [[ $("$apptainer" build --help) == *--mksquashfs-args* ]]; then
        compression=(--mksquashfs-args '-comp zstd -Xcompression-level 3')
    fi
    say "building $image"
    mkdir -p "$(dirname -- "$image")"
    # container=lxc: debootstrap then makes no device files, which no namespace may.
    (cd "$repository" && container=lxc as_full_root "$apptainer" --quiet build --force --notest "${compression[@]}" \
        "${@:1:$#-1}" "$image.new" "${*: -1}") >"$work/build.log" 2>&1 ||
        { tail -n 15 "$work/build.log" >&2; fail "no image; the whole log: $work/build.log"; }
    mv "$image.new" "$image"
}

# Python packages for the image, by this machine's pip.
fetch_wheels() { # FOLDER ARGUMENT ...
    say "fetching Python packages into $1"
    rm -rf "$1"
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target "$1" \
        --python-version 3.9 --only-binary=:all: "${@:2}" 2>"$work/pip.log" ||
        { tail -n 3 "$work/pip.log" >&2; fail "no Python packages; the whole log: $work/pip.log"; }
}

# The lock that lies among them says which they are.
fetch_python() {
    if cmp -s "$containers/python.lock" "$work/python/python.lock"; then return; fi
    fetch_wheels "$work/python" --require-hashes --requirement "$containers/python.lock"
    cp "$containers/python.lock" "$work/python"
}

build_fast() { # IMAGE
    make_rootfs
    fetch_python
    "$containers/definition.py" "$containers/menndl-caffe.def" --from "$work/rootfs" COMMIT="$(commit)" >"$work/fast.def"
    apptainer_build "$1" "$work/fast.def"
}

build_alone() { # IMAGE
    install_packages debootstrap debootstrap
    find_suite "$work/apt" bullseye "$containers/packages.lock"
    fetch_python
    apptainer_build "$1" --build-arg "MIRROR=$mirror" --build-arg "SECURITY=$security" --build-arg "COMMIT=$(commit)" \
        "$containers/menndl-caffe.def"
}

build_mpich() { # IMAGE
    local base=$repository/build/menndl-caffe.sif
    up_to_date "$base" || build_fast "$base"
    fetch_wheels "$work/mpi4py" --require-hashes --requirement "$containers/mpich.lock"
    find_suite "$work/apt" bullseye "$containers/packages.lock"
    apptainer_build "$1" --build-arg "BASE=$base" --build-arg "MPI4PY=$work/mpi4py" --build-arg "MIRROR=$mirror" \
        "$containers/menndl-caffe-mpich.def"
}

in_image() { APPTAINER=$apptainer "$containers/exec.sh" "$image" "$@"; }

# An image with other versions than the lock's is as good; only Caffe's own is pinned, by the definition.
compare_with_lock() {
    if [[ $kind == mpich ]]; then return; fi
    diff <(sed '/^#/d; s/ .*//' "$containers/packages.lock") <(in_image cat /opt/menndl/packages.txt) >"$work/lock.diff" ||
        say "note: $(grep -c '^>' "$work/lock.diff") packages differ from packages.lock, see $work/lock.diff"
}

test_image() {
    say "testing $image"
    in_image sh /.singularity.d/test >"$work/test.log" 2>&1 ||
        { tail -n 15 "$work/test.log" >&2; fail "the image fails its tests; the whole log: $work/test.log"; }
}

kind=fast mirror=${MIRROR:-} security='' force='' image=''
while (($#)); do
    case $1 in
        --help) usage; exit ;;
        --alone | --mpich) kind=${1#--} ;;
        --mirror) [[ -n ${2:-} ]] || misuse "--mirror needs a URL"; mirror=$2; shift ;;
        --security) [[ $# -gt 1 ]] || misuse "--security needs a URL"; security=$2; shift ;;
        --force) force=1 ;;
        -*) misuse "unknown option $1" ;;
        *) [[ -z $image ]] || misuse "one IMAGE only, found $image and $1"; image=$1 ;;
    esac
    shift
done
suffix=''
if [[ $kind == mpich ]]; then suffix=-mpich; fi
image=$(readlink -m -- "${image:-$repository/build/menndl-caffe$suffix.sif}")
mkdir -p "$work"
exec 9>"$work/.lock"
flock -n 9 || { say "waiting for another call that builds in $work"; flock 9; }
apptainer=$(find_apptainer) || { "$containers/install-apptainer.sh" "$repository/build/apptainer"; apptainer=$(find_apptainer); }
if up_to_date "$image"; then
    say "$image is as new as what it is made of"
else
    mirror=${mirror:-$(own_mirror)}
    [[ -n $mirror ]] || no_mirror
    require_user_ids
    "build_$kind" "$image"
fi
test_image
compare_with_lock
say "$image ($(du -m "$image" | cut -f 1) MB) works"
