#!/usr/bin/env bash
# The tests look at pages in a browser: the machine's own Chromium, or Debian's, which root installs by this.
set -euo pipefail

# shellcheck source=containers/host.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../../containers/host.sh"

case ${1:-} in
    '') ;;
    --help) echo "usage: chromium.sh   installs Debian's chromium on this machine where there is no Chromium"; exit ;;
    *) echo "chromium: error: no arguments expected, found $1 (see --help)" >&2; exit 2 ;;
esac
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit; fi
done
if ((EUID != 0)); then
    echo "chromium: error: only root can install it; the tests of pages are left out without" >&2
    exit 1
fi
echo "installing Debian's chromium and a font on this machine"
install_on_host chromium fonts-dejavu-core >/dev/null
