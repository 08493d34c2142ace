#!/usr/bin/env bash
# A real apptainer for a machine that has none: Debian's package, unpacked into a private folder, with a C library as
# young as it needs. Needs apt-get and dpkg-deb; no root, and nothing outside PREFIX is written.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'TEXT'
usage: install-apptainer.sh [--mirror URL] [--force] [PREFIX]

Puts apptainer into PREFIX (default: build/apptainer of this repository); PREFIX/bin then holds apptainer and
singularity. Does nothing where the machine has one of the two already. A second call returns at once; a call after an
interruption begins anew, and so does one after PREFIX was moved.

  --mirror URL   a Debian mirror that carries sid (also: MIRROR=URL); default: the one this machine's apt uses
  --force        install, whatever the machine has
  --help         this text

APPTAINER_DEB=FILE names a package of apptainer to take in place of Debian's newest.
TEXT
}

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
helpers=(squashfs-tools squashfuse libseccomp2 libsqlite3-0) # what Debian's package needs, but for uidmap
megabytes_needed=500

say() { printf 'install-apptainer: %3d s  %s\n' "$SECONDS" "$*"; }
warn() { printf 'install-apptainer: warning: %s\n' "$*" >&2; }
fail() { printf 'install-apptainer: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'install-apptainer: error: %s (see --help)\n' "$*" >&2; exit 2; }

# shellcheck source=containers/host.sh
. "$here/host.sh"
# shellcheck source=containers/private-apt.sh
. "$here/private-apt.sh"

download_from() { # SUITE PACKAGE: sets deb
    local folder=$work/$1
    if [[ ! -d $folder ]]; then
        mirror=${mirror:-$(own_mirror)}
        [[ -n $mirror ]] ||
            fail "this machine's apt has no Debian mirror: give one with --mirror URL, or a package with APPTAINER_DEB"
        say "reading the package lists of $mirror, $1"
        configure_apt "$folder" "$mirror" "$1"
        private_apt "$folder" update ||
            fail "cannot read Debian $1 at $mirror: check the network, or name a mirror with --mirror URL"
    fi
    (cd "$folder" && private_apt "$folder" download "$2" >/dev/null) || fail "cannot download $2 of Debian $1 at $mirror"
    deb=$(echo "$folder/$2"_*.deb)
}

# Packages of the machine's own releases that it lacks, with all they need, unpacked into $work/tools.
download_lacking() { # PACKAGE...
    local one
    say "downloading from this machine's own releases what it lacks: $*"
    configure_own_apt "$work/own"
    if ! private_apt "$work/own" update || ! private_apt "$work/own" --download-only install "$@" >/dev/null; then
        fail "cannot download what this machine lacks; as root, apt-get install $*, and run this again"
    fi
    mkdir -p "$work/tools"
    for one in "$work/own/var/cache/apt/archives"/*.deb; do unpack_deb "$one" "$work/tools"; done
}

run_patchelf() {
    local libraries=$work/tools/usr/lib/x86_64-linux-gnu
    PATH=$PATH:$work/tools/usr/bin LD_LIBRARY_PATH=$libraries patchelf "$@"
}

unpack_apptainer() {
    rm -rf "$work/tree"
    mkdir "$work/tree"
    unpack_deb "$apptainer_deb" "$work/tree"
    rm -rf "${dir:?}"/{bin,etc,lib,libc,libexec,share,var}
    mv "$work/tree"/usr/* "$work/tree/etc" "$dir"
    # apptainer looks for these above bin, its starter above lib
    mkdir -p "$dir/var/lib/apptainer/mnt/session" "$dir/lib"
    ln -s ../etc ../var "$dir/lib"
    ln -sfn apptainer "$dir/bin/singularity"
    starter=$(find "$dir/lib" "$dir/libexec" -path '*/apptainer/bin/starter' 2>/dev/null || true)
    [[ -x $starter && -x $dir/bin/apptainer ]] || fail "$apptainer_deb has no apptainer with a starter"
    programs=("$dir/bin/apptainer" "$starter")
}

# Into the folder that apptainer looks into first, with the libraries they need.
add_helpers() {
    local tool internal=${starter%/*}
    [[ -d $work/tools/usr ]] || return 0
    find "$work/tools" -name '*.so*' -path '*/x86_64-linux-gnu/*' ! -type d -exec cp -a -t "$internal" {} +
    for tool in "$work"/tools/usr/bin/{mksquashfs,unsquashfs,squashfuse,squashfuse_ll}; do
        [[ -x $tool ]] || continue
        cp "$tool" "$internal"
        run_patchelf --force-rpath --set-rpath "\$ORIGIN" "$internal/${tool##*/}"
    done
    run_patchelf --force-rpath --set-rpath "\$ORIGIN" "$starter"
    run_patchelf --force-rpath --set-rpath "\$ORIGIN/../${internal#"$dir/"}" "$dir/bin/apptainer"
}

# A Debian release's C library and its loader, at a fixed path. As rpath, not runpath: that yields to LD_LIBRARY_PATH,
# which apptainer sets where it unpacks an image that it cannot mount.
use_libc_of() { # SUITE
    local program
    download_from "$1" libc6
    rm -rf "$work/libc"
    mkdir -p "$work/libc" "$dir/libc"
    unpack_deb "$deb" "$work/libc"
    find "$work/libc" -path '*/x86_64-linux-gnu/*.so*' ! -path '*/gconv/*' -exec cp -a -t "$dir/libc" {} +
    command -v patchelf >/dev/null || [[ -e $work/tools/usr/bin/patchelf ]] || download_lacking patchelf
    for program in "${programs[@]}"; do
        run_patchelf --set-interpreter "$dir/libc/ld-linux-x86-64.so.2" --force-rpath \
            --set-rpath "$dir/libc:${starter%/*}" "$program"
    done
}

# Both programs find their libraries; sets reason. A loader's complaint begins with the program's path.
starts() {
    local program
    for program in "$dir/bin/apptainer" "$dir"/lib*/{,x86_64-linux-gnu/}apptainer/bin/starter; do
        [[ -e $program ]] || continue
        reason=$("$program" --version 2>&1 </dev/null | grep -F "$program: " || true)
        [[ -z $reason ]] || return 1
    done
    reason=$("$dir/bin/apptainer" --version 2>&1)
}

fit_to_this_machine() {
    local suite
    for suite in '' trixie sid; do
        unpack_apptainer
        add_helpers
        if [[ -n $suite ]]; then
            say "it does not start (${reason%%$'\n'*}); trying the C library of Debian $suite"
            use_libc_of "$suite"
        fi
        if starts; then libc=${suite:-"this machine's"}; return; fi
    done
    fail "apptainer does not start here: ${reason%%$'\n'*}; APPTAINER_DEB=FILE names another package of it"
}

# Its kernel, or its administrator, may forbid a login node what a compute node allows.
try_a_container() {
    mkdir -p "$work/empty"
    timeout 30 "$dir/bin/apptainer" --nocolor --quiet exec --no-privs --no-home --pwd / \
        --bind /usr,/bin,/lib,/lib64 "$work/empty" /bin/true >"$work/log" 2>&1 </dev/null ||
        warn "it cannot start a container on this machine: $(tail -n 1 "$work/log")"
}

install() {
    local package lacking=()
    check_disk "$megabytes_needed"
    rm -rf "$work" "$dir/VERSION"
    mkdir "$work"
    if [[ -n $given_deb ]]; then deb=$given_deb; else download_from sid apptainer; fi
    apptainer_deb=$deb
    sum=$(sha256sum <"$deb" | cut -d ' ' -f 1)
    version=$(dpkg-deb --field "$deb" Version)
    say "apptainer $version, SHA256 $sum"
    for package in "${helpers[@]}"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^.i' || lacking+=("$package")
    done
    if ((${#lacking[@]})); then download_lacking "${lacking[@]}" patchelf; fi
    fit_to_this_machine
    try_a_container
    printf 'apptainer=%s\nsha256=%s\nlibc=%s\n' "$version" "$sum" "$libc" >"$work/VERSION"
    mv "$work/VERSION" "$dir/VERSION"
    rm -rf "$work"
    say "$("$dir/bin/apptainer" --version) is in $dir ($(du -sm "$dir" | cut -f 1) MB), C library: $libc"
}

# Tried, because a folder that was moved has left its loader behind.
installed() {
    [[ -e $dir/VERSION ]] && starts &&
        { [[ -z $given_deb ]] || grep -qsx "sha256=$(sha256sum <"$given_deb" | cut -d ' ' -f 1)" "$dir/VERSION"; }
}

dir='' mirror=${MIRROR:-} force='' given_deb=${APPTAINER_DEB:-}
while (($#)); do
    case $1 in
        --help) usage; exit ;;
        --mirror) [[ -n ${2:-} ]] || misuse "--mirror needs a URL"; mirror=$2; shift ;;
        --mirror=?*) mirror=${1#*=} ;;
        --force) force=1 ;;
        -*) misuse "unknown option $1" ;;
        *) [[ -z $dir ]] || misuse "one PREFIX only, found $dir and $1"; dir=$1 ;;
    esac
    shift
done
dir=$(readlink -m -- "${dir:-$here/../build/apptainer}")
work=$dir/.work
# apptainer waits in vain for images mounted below a path with a space: the kernel's list of mounts writes it as \040
[[ $dir != *[[:space:]:\;\"\$\\]* ]] || misuse "PREFIX must not contain spaces or any of : ; \" \$ \\, found $dir"
if [[ -n $given_deb ]]; then
    [[ $(dpkg-deb --field "$given_deb" Package 2>/dev/null) == apptainer ]] ||
        misuse "APPTAINER_DEB must name a package of apptainer, found $given_deb"
    given_deb=$(readlink -f -- "$given_deb")
fi
if [[ -z $force ]] && found=$(machines_own "$dir"); then
    say "this machine has $found ($("$found" --version)), nothing to do"
    exit
fi
if ! installed; then
    require_tools dpkg-query flock tar sha256sum
    take_lock
    installed || { install; exit; }
fi
say "$("$dir/bin/apptainer" --version) is already in $dir"
