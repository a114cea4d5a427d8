#!/bin/sh
# Builds the Debian root that stands for a freshly written card: systemd, OpenSSH's server and Python, nothing of ours.
# Needs root, mmdebstrap and a Debian mirror (half a minute, 300 MB).
#
#   sh hil_tests/deploy/build_root.sh [FOLDER] [SUITE]

set -eu
root=${1:-${TENOHIRA_DEPLOY_ROOT:-$HOME/.cache/tenohira/deploy-root}}
suite=${2:-bookworm}

command -v mmdebstrap >/dev/null || { echo "mmdebstrap is not installed; run: apt-get install mmdebstrap" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 1; }

rm -rf "$root.new"
mkdir -p "$(dirname "$root")"
mmdebstrap --quiet --variant=minbase \
  --include=systemd,systemd-sysv,dbus,libpam-systemd,udev,openssh-server,python3,python3-venv,sudo,procps \
  "$suite" "$root.new"
rm -f "$root.new"/etc/ssh/ssh_host_*
rm -rf "$root"
mv "$root.new" "$root"
echo "$root"
