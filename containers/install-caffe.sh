#!/usr/bin/env bash
# Real Caffe in one step: Debian bullseye's own packages, unpacked into a private folder and run with their own
# loader and libraries. Needs apt-get and dpkg-deb; no root, no chroot, no namespaces, nothing outside DIR.
set -euo pipefail
export LC_ALL=C

usage() {
    cat <<'TEXT'
usage: install-caffe.sh [--mirror URL] [DIR]

Unpacks Debian bullseye's Caffe 1.0 (pycaffe, tools, examples, OpenBLAS) into DIR (default: build/caffe of this
repository). DIR/bin then holds python3, caffe, convert_cifar_data, compute_image_mean and Caffe's other tools.
A second call returns at once; a call after an interruption goes on where the first one stopped.

  --mirror URL   a Debian mirror that carries bullseye (also: MIRROR=URL); default: the one this machine's apt uses
  --help         this text

Where the mirror has bullseye no more, archives of old releases take its place: ARCHIVE=URL, or those that the machine's
own configuration leads to. What is unpacked is checked by Debian's signatures and by the hashes in caffe.lock.
TEXT
}

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
lock=$here/caffe.lock
pin=$(sed -n 's/^caffe=\([^ ]*\).*/\1/p' "$lock")
packages=(python3-caffe caffe caffe-doc libopenblas0-pthread python3-lmdb python3-jinja2 python3-protobuf python3-numpy)
programs=(python3 caffe caffe-gtest classification compute_image_mean convert_cifar_data convert_imageset
    convert_mnist_data convert_mnist_siamese_data extract_features upgrade_net_proto_binary upgrade_net_proto_text
    upgrade_solver_proto_text)
no_use_here=(--exclude=./usr/share/{javascript,locale,man,perl} --exclude=./usr/lib/x86_64-linux-gnu/perl{,-base})
megabytes_needed=900

say() { printf 'install-caffe: %3d s  %s\n' "$SECONDS" "$*"; }
fail() { printf 'install-caffe: error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'install-caffe: error: %s (see --help)\n' "$*" >&2; exit 2; }

# shellcheck source=containers/private-apt.sh
. "$here/private-apt.sh"

# Debian's Caffe must be the pinned one; other packages may have moved with a point release.
check_versions() {
    local wanted found
    while read -r wanted; do
        found=$(grep "^${wanted%%=*}=" "$work/plan" || true)
        [[ $found == "$wanted" ]] || fail "$mirror has ${found:-no ${wanted%%=*}}, but $lock pins $wanted"
    done < <(grep '^[^#=]*caffe' "$lock")
    comm -13 <(sort "$lock") "$work/plan" | sed 's/ .*//; s/^/install-caffe: warning: not in caffe.lock: /' >&2
}

download() {
    private_apt "$work" --simulate install "${packages[@]}" >"$work/simulation" ||
        fail "$mirror lacks packages that Caffe needs"
    sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' "$work/simulation" |
        awk 'NR == FNR { hash[$1] = $2; next } { print $1, hash[$1] }' "$work/offered" - | sort >"$work/plan"
    check_versions
    say "downloading $(wc -l <"$work/plan") packages"
    private_apt "$work" --download-only install "${packages[@]}" >/dev/null || fail "download failed; run it again to go on"
}

unpack() {
    local package version deb
    say "unpacking"
    rm -rf "$dir/root"
    mkdir "$dir/root"
    while IFS='= ' read -r package version _; do
        deb=$(echo "$work/var/cache/apt/archives/${package}_${version//:/%3a}_"*.deb)
        unpack_deb "$deb" "$dir/root" "${no_use_here[@]}" || {
            rm -f "$deb"
            check_disk 20
            fail "cannot unpack $package $version; run it again to download it anew"
        }
    done <"$work/plan"
    cp "$work/plan" "$dir/packages.txt"
}

# Run by Python's site module: a caller's PYTHONPATH must not shadow Caffe's numpy, and sys.executable must be
# something that runs. (The environment stays as it is, for children that are the machine's own programs.)
write_path_hook() {
    cat >"$dir/root/usr/lib/python3/dist-packages/menndl.pth" <<'PTH'
import sys; sys.path.insert(0, sys.prefix + "/lib/python3/dist-packages")
import sys; sys.executable = sys.prefix.rpartition("/root/usr")[0] + "/bin/python3"
PTH
}

wrapper() {
    cat <<'WRAPPER'
#!/bin/sh
# Runs the program of this name from ../root with the loader and the libraries it was built for.
self=$(readlink -f -- "$0")
root=${self%/bin/*}/root
name=${self##*/}
triplet=lib/x86_64-linux-gnu
if [ "$name" = python3 ]; then
    set -- "$root/usr/bin/python3.9" -s "$@"
else
    set -- "$root/usr/bin/$name" "$@"
    export GLOG_logtostderr="${GLOG_logtostderr-1}"
fi
# OpenBLAS 0.3.13 takes processors younger than itself for a Prescott of 2004, which makes Caffe 1.6 times slower.
if [ -z "${OPENBLAS_CORETYPE-}" ] && grep -qm 1 '^flags.* fma .* avx2 ' /proc/cpuinfo; then
    export OPENBLAS_CORETYPE=Haswell
fi
unset LD_PRELOAD PYTHONHOME
exec "$root/$triplet/ld-2.31.so" --library-path \
    "$root/usr/$triplet/openblas-pthread:$root/$triplet:$root/usr/$triplet:$root/usr/lib" "$@"
WRAPPER
}

write_wrappers() {
    local name
    mkdir -p "$dir/bin"
    for name in "${programs[@]}"; do
        if ! wrapper | cmp -s - "$dir/bin/$name"; then
            wrapper >"$dir/bin/.new"
            chmod 755 "$dir/bin/.new"
            mv "$dir/bin/.new" "$dir/bin/$name"
        fi
    done
}

# VERSION is what `menndl doctor` reads; written last, so its presence means that everything before it worked.
# The imports also leave their compiled forms behind, for users who cannot write here.
self_check() {
    say "checking"
    GLOG_minloglevel=2 PYTHONDONTWRITEBYTECODE='' \
        "$dir/bin/python3" - "$pin" >"$work/VERSION" <<'CHECK' || fail "Caffe does not run; see above"
import ctypes, datetime, json, platform, re, sys
import caffe, google.protobuf, jinja2, lmdb, numpy

mapped = set(re.findall(r"/.*/lib[^/\n]*(?:blas|lapack|atlas)[^/\n]*$", open("/proc/self/maps").read(), re.MULTILINE))
if not mapped or not all("/openblas-pthread/" in path for path in mapped):
    sys.exit("Caffe computes with %s instead of OpenBLAS" % (sorted(mapped) or "no BLAS"))
config = ctypes.CDLL("libopenblas.so.0").openblas_get_config
config.restype = ctypes.c_char_p
print(json.dumps({
    "caffe": caffe.__version__,
    "package": sys.argv[1],
    "blas": " ".join(config().decode().split()[:2]),
    "blas_libraries": sorted(path.rpartition("/")[2] for path in mapped),
    "python": platform.python_version(),
    "numpy": numpy.__version__,
    "protobuf": google.protobuf.__version__,
    "jinja2": jinja2.__version__,
    "lmdb": lmdb.__version__,
    "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
}, indent=1))
CHECK
    mv "$work/VERSION" "$dir/VERSION"
}

installed() { grep -qsF "\"$pin\"" "$dir/VERSION"; }

install() {
    mirror=${mirror:-$(own_mirror)}
    [[ -n $mirror ]] || no_mirror
    check_disk $((megabytes_needed - $(du -sm "$dir" | cut -f 1)))
    rm -f "$dir/VERSION"
    find_suite "$work" bullseye "$lock"
    download
    unpack
    write_path_hook
    write_wrappers
    self_check
    rm -rf "$work"
    say "Caffe $pin is in $dir ($(du -sm "$dir" | cut -f 1) MB)"
}

dir='' mirror=${MIRROR:-}
while (($#)); do
    case $1 in
        --help) usage; exit ;;
        --mirror) [[ -n ${2:-} ]] || misuse "--mirror needs a URL"; mirror=$2; shift ;;
        --mirror=?*) mirror=${1#*=} ;;
        -*) misuse "unknown option $1" ;;
        *) [[ -z $dir ]] || misuse "one DIR only, found $dir and $1"; dir=$1 ;;
    esac
    shift
done
dir=$(readlink -m -- "${dir:-$here/../build/caffe}")
work=$dir/.work
[[ $dir != *[:\;\"\$\\]* ]] || misuse "DIR must not contain any of : ; \" \$ \\, found $dir"
if ! installed; then
    require_tools flock tar
    take_lock
    installed || { install; exit; }
fi
rm -rf "$work"
write_wrappers
say "Caffe $pin is already in $dir"
