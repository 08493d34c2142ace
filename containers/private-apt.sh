# A private apt, whose lists and packages lie in a folder of its own; needs no root and leaves the machine's apt alone.
# And what installers over it share. Sourced by scripts that define say(), fail() and misuse(), and as `dir` the folder
# that they install into, as `megabytes_needed` what that takes.
# shellcheck shell=bash
# shellcheck disable=SC2154  # dir, megabytes_needed

# The site of the machine's own Debian archive. Without downloaded lists apt cannot tell an archive's origin, so there
# the first plain release (no -security, no -updates) of a Debian machine counts.
# shellcheck disable=SC2016  # $(SITE) and the like are apt's
own_mirror() {
    local site
    site=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(SITE)' 'Created-By: Packages' |
        sed -n 's/^Debian|Debian|//p')
    if [[ -z $site ]] && grep -qsx 'ID=debian' /etc/os-release; then
        site=$(apt-get indextargets --no-release-info --format '$(COMPONENT) $(RELEASE)|$(SITE)' \
            'Created-By: Packages' | sed -n 's/^main [a-z]*|//p')
    fi
    printf '%s' "${site%%$'\n'*}"
}

# Where a release may be once MIRROR has it no more: what ARCHIVE names, and nothing else then; beside it, as mirrors that
# keep old releases have them; in the distribution's own archive; and in the dated snapshot that this machine was made
# from. All of it from the machine's own configuration.
archives() { # MIRROR
    local domain
    if [[ -n ${ARCHIVE:-} ]]; then printf '%s\n' "$ARCHIVE"; return; fi
    printf '%s\n' "${1%/*}/debian-archive/debian"
    if ! grep -qsx 'ID=debian' /etc/os-release; then return; fi
    domain=$(sed -nE 's,^HOME_URL="?https?://(www\.)?([^/"]+).*,\2,p' /etc/os-release)
    [[ -z $domain ]] || printf '%s://archive.%s/debian\n' http "$domain"
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -nE 's,^# *([a-z]+:[^ ]*/archive/debian/[0-9]{8}T[0-9]{6}Z)/?$,\1,p'
}

# A private apt in FOLDER, with the lists of SUITE from the first of `mirror` and its archives that has it, which
# `mirror` then is. With LOCK: a package of the version there must be the very file there.
find_suite() { # FOLDER SUITE LOCK
    local tried=() candidate
    while read -r candidate; do
        say "reading the package lists of $candidate, $2"
        rm -rf "$1/var/lib/apt/lists"
        configure_apt "$1" "$candidate" "$2"
        if private_apt "$1" update; then
            mirror=$candidate
            check_hashes "$1" "$3"
            return
        fi
        tried+=("$candidate")
    done < <(printf '%s\n' "$mirror"; archives "${mirror%/}")
    fail "cannot read Debian $2, tried $(printf '%s, ' "${tried[@]}")in vain: check the network, or name a mirror" \
        "that has it with --mirror URL, or an archive of old releases with ARCHIVE=URL"
}

# What the lists of a private apt offer: package=version and the SHA-256 of the file.
offered() { # FOLDER
    APT_CONFIG=$1/apt.conf apt-cache dumpavail |
        awk '/^Package:/ { name = $2 } /^Version:/ { version = $2 } /^SHA256:/ { print name "=" version, $2 }'
}

check_hashes() { # FOLDER LOCK
    local other
    offered "$1" >"$1/offered"
    other=$(awk 'NR == FNR { if (!/^#/) hash[$1] = $2; next } $1 in hash && hash[$1] != $2 { print $1 }' "$2" "$1/offered")
    [[ -z $other ]] || fail "$mirror has other files than $2 says, under the same versions: ${other//$'\n'/, }"
}

no_mirror() {
    fail "this machine's apt has no Debian mirror, and this needs Debian's packages. On Ubuntu and others:
    sudo apt-get install debian-archive-keyring
    and the same command again with MIRROR=URL, a Debian mirror (or an archive of old releases) that you may use"
}

# With the keys of releases that are no longer supported, where the machine keeps them.
archive_keyring() {
    local kind folder=/usr/share/keyrings
    for kind in pgp gpg; do
        if [[ -r $folder/debian-archive-keyring.$kind ]]; then
            printf '%s' "$folder/debian-archive-keyring.$kind"
            [[ ! -r $folder/debian-archive-removed-keys.$kind ]] ||
                printf ',%s' "$folder/debian-archive-removed-keys.$kind"
            return
        fi
    done
    fail "Debian's signing keys are missing: install the package debian-archive-keyring"
}

# Of the machine's configuration only how to reach a mirror (proxies, certificates, passwords) is taken over, so that
# neither its hooks nor its releases nor a switched-off signature check have a say here.
configure_apt() { # FOLDER MIRROR SUITE
    local folder=$1 keyring
    keyring=$(archive_keyring)
    make_apt_folders "$folder"
    : >"$folder/status"
    # copy: for file:, because apt leaves the packages of a file: mirror where they are instead of fetching them
    printf 'deb [arch=amd64 signed-by=%s] %s %s main\n' "$keyring" "${2/#file:/copy:}" "$3" \
        >"$folder/etc/apt/sources.list"
}

# The machine's own releases, and what it has installed: a download is what the machine lacks. Whether what it has fits
# together is not asked.
configure_own_apt() { # FOLDER
    make_apt_folders "$1"
    grep -vE '^(Pre-Depends|Depends|Breaks|Conflicts):' /var/lib/dpkg/status >"$1/status"
    cat >>"$1/apt.conf" <<'CONF'
Dir::Etc::sourcelist "/etc/apt/sources.list";
Dir::Etc::sourceparts "/etc/apt/sources.list.d";
Dir::Etc::trusted "/etc/apt/trusted.gpg";
Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d";
CONF
}

make_apt_folders() { # FOLDER
    mkdir -p "$1"/etc/apt/{apt.conf,preferences,sources.list}.d
    mkdir -p "$1"/var/{lib/apt/lists,cache/apt/archives}/partial
    apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' >"$1/apt.conf"
    cat >>"$1/apt.conf" <<CONF
Dir "$1";
Dir::State::status "$1/status";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root"; // apt's own download user may have no way into DIR
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Check-Valid-Until "false"; // an archive of old releases keeps its old dates
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::Retries "5";
CONF
}

private_apt() { # FOLDER ARGUMENT...
    local folder=$1
    shift
    APT_CONFIG=$folder/apt.conf apt-get -qq -y "$@" 2>"$folder/apt.log" && return
    grep '^[EW]:' "$folder/apt.log" >&2 || cat "$folder/apt.log" >&2
    check_disk 20
    return 1
}

# Neither owners nor set-user-id bits are taken over: nothing here is to be run with another user's rights.
unpack_deb() { # DEB FOLDER TAR-OPTION...
    dpkg-deb --fsys-tarfile "$1" | tar -x --no-same-owner --no-same-permissions "${@:3}" -C "$2"
}

check_disk() { # MEGABYTES
    local free
    free=$(df -Pm "$dir" | awk 'NR == 2 { print $4 }')
    ((free >= $1)) || fail "not enough disk space: $free MB are free for $dir, $megabytes_needed MB are needed in all"
}

require_tools() { # TOOL...
    local tool
    for tool in apt-get apt-config dpkg dpkg-deb "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing: this needs Debian or one of its relatives"
    done
    [[ $(dpkg --print-architecture) == amd64 ]] || fail "amd64 only, this is $(dpkg --print-architecture)"
}

# The lock is inherited by apt and tar, so a killed call's children are waited for as well.
take_lock() {
    mkdir -p "$dir" || fail "cannot make $dir"
    # In this order: another call's first file is the lock.
    [[ -z $(ls -A "$dir") || -e $dir/.lock ]] || misuse "$dir is not empty and was not made by this script"
    exec 9>"$dir/.lock" || fail "cannot write to $dir"
    flock -n 9 || { say "waiting for another call that installs into $dir"; flock 9; }
}
