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

archive_keyring() {
    local keyring
    for keyring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
        if [[ -r $keyring ]]; then printf '%s' "$keyring"; return; fi
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
