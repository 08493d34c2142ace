# What this host has for containers, and what it gets. Sourced by other scripts, which define fail() and misuse().
# shellcheck shell=bash

containers=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
repository=$(dirname -- "$containers")

# Debian's packages, by root. The host's lists may be out of date, another apt may be at work (as when the host has just
# been started), and a mirror may not answer for a moment.
install_on_host() { # PACKAGE ...
    local pause apt=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5)
    for pause in 0 10 30; do
        sleep "$pause"
        "${apt[@]}" update || true # a list that is not to be had need not be the one
        if DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@"; then return; fi
    done
    return 1
}

# The machine's own, but not one below FOLDER, nor the game and the Python package that are called singularity too.
machines_own() { # FOLDER
    local program
    while read -r program; do
        [[ $(readlink -f -- "$program") != "$1"/* ]] || continue
        if "$program" --version 2>/dev/null </dev/null | grep -q '[0-9]\.[0-9]'; then
            printf '%s' "$program"
            return
        fi
    done < <(type -aP apptainer singularity)
    return 1
}

# The machine's own comes first; APPTAINER=PATH names another.
find_apptainer() {
    local installed=$repository/build/apptainer
    if [[ -n ${APPTAINER:-} ]] && command -v -- "$APPTAINER"; then return; fi
    machines_own "$installed" || command -v -- "$installed/bin/apptainer"
}

# As root, Apptainer asks for every capability that the kernel knows, and fails where root has fewer (its issue 2202).
lacks_capabilities() {
    local permitted last
    permitted=$(sed -n 's/^CapPrm:\s*//p' /proc/self/status)
    last=$(cat /proc/sys/kernel/cap_last_cap)
    ((EUID == 0 && (~16#$permitted & ((1 << (last + 1)) - 1)) != 0))
}

# An image is mounted by root, by a set-user-id Apptainer, or through FUSE; else it must be unpacked to be run.
can_mount_images() { # APPTAINER
    ((EUID == 0)) || [[ -r /dev/fuse && -w /dev/fuse ]] ||
        compgen -G "$(dirname -- "$(readlink -f -- "$1")")/../libexec/*/bin/starter-suid" >/dev/null
}

# IMAGE, or where images cannot be mounted the folder IMAGE.unpacked, which is made once for all ranks of a host.
mountable() { # APPTAINER IMAGE
    local image=$2 folder=$2.unpacked
    if [[ -d $image ]] || can_mount_images "$1"; then printf '%s' "$image"; return; fi
    (
        flock 9
        [[ $folder/.complete -nt $image ]] ||
            { "$1" --quiet build --force --sandbox "$folder" "$image" >&2 && touch "$folder/.complete"; }
    ) 9>"$folder.lock" || fail "cannot unpack $image, and /dev/fuse is closed to you: free space, or ask for access"
    printf '%s' "$folder"
}
