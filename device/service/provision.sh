#!/bin/sh
# Makes a Raspberry Pi (Raspberry Pi OS 64-bit, or Debian 12 or 13) into the instrument, or brings it up to date.
#
#   sudo sh provision.sh [--wheels DIR | --index] [--camera SPEC] [--kiosk] [--dry-run]
#   sudo sh provision.sh --rollback
#
# --wheels DIR   folder with tenohira-*.whl and, unless --index, every library (default: the folder above this script)
# --index        the libraries come from the package index that pip is set up for
# --camera SPEC  picamera2, replay:FOLDER or simulated, into /etc/tenohira/tenohira.env (default: what is there)
# --kiosk        the page on the instrument's own touch screen (cage and Chromium)
# --dry-run      only look at this machine and say what would be done
# --rollback     back to the version before
#
# Run it as often as you like. Each version has a folder of its own below /opt/tenohira; the link "current" moves to it
# only after its self-test has passed, and back if it then does not start. Records in /var/lib/tenohira are never touched.

set -eu

OPT=/opt/tenohira
STATE=/var/lib/tenohira
RECORD=$STATE/record
ETC=/etc/tenohira
LOG=/var/log/tenohira-provision.log
ROOM_MB=900          # a version takes about 400 MB
here=$(cd "$(dirname "$0")" && pwd)

wheels=''
index=no
camera=''
kiosk=no
dry=no
rollback=no
warnings=0

say() {
  printf '%s\n' "$*"
  [ $dry = yes ] || printf '%s %s\n' "$(date -u +%FT%TZ)" "$*" >>"$LOG"
}

warn() {
  warnings=$((warnings + 1))
  say "note: $*"
}

fail() {
  say "failed: $*" >&2
  exit 1
}

# A command whose output belongs into the log; its end is shown where it fails.
quietly() {
  out=$(mktemp)
  if "$@" >"$out" 2>&1; then
    cat "$out" >>"$LOG"
    rm -f "$out"
  else
    cat "$out" >>"$LOG"
    tail -n 15 "$out" >&2
    rm -f "$out"
    return 1
  fi
}

systemd_runs() {
  [ -d /run/systemd/system ]
}

arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --wheels | --camera)
        [ $# -ge 2 ] || fail "$1 needs a value; see the head of this script"
        if [ "$1" = --wheels ]; then wheels=$2; else camera=$2; fi
        shift
        ;;
      --index) index=yes ;;
      --kiosk) kiosk=yes ;;
      --dry-run) dry=yes ;;
      --rollback) rollback=yes ;;
      *) fail "unknown argument $1; see the head of this script" ;;
    esac
    shift
  done
}

# --- look ------------------------------------------------------------------------------------------------------------

look() {
  [ "$(id -u)" = 0 ] || [ $dry = yes ] || fail "this needs root; run it with sudo"
  board=$(tr -d '\0' 2>/dev/null </proc/device-tree/model || echo "no Raspberry Pi")
  # shellcheck source=/dev/null
  . /etc/os-release
  say "machine: $board, $PRETTY_NAME, $(($(sed -n 's/MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024)) MB of memory"

  # Not uname: a 32-bit Raspberry Pi OS runs on a 64-bit kernel.
  architecture=$(dpkg --print-architecture)
  case $architecture in
    arm64 | amd64) ;;
    *) fail "this is no 64-bit system ($architecture); write Raspberry Pi OS 64-bit onto the card" ;;
  esac
  case "$ID/${VERSION_ID:-}" in
    debian/12 | debian/13) ;;
    *) warn "$PRETTY_NAME was never tried; Raspberry Pi OS 64-bit (Debian 12 or 13) was" ;;
  esac
  command -v python3 >/dev/null || fail "there is no python3; run: apt-get install python3-venv"
  python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  case $python in
    3.11 | 3.12 | 3.13) ;;
    *) fail "Python $python is not among those that tenohira runs on (3.11 to 3.13)" ;;
  esac
  free=$(df -Pm "$(existing $OPT)" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge $ROOM_MB ] || [ $rollback = yes ] || fail "only $free MB are free for $OPT, $ROOM_MB are needed; remove files or use a larger card"
  systemd_runs || say "systemd does not run here: units are laid down and enabled, and start with the next boot"
  look_at_camera
  look_at_memory
  if [ $kiosk = yes ] && systemctl is-enabled --quiet display-manager.service 2>/dev/null; then
    warn "a desktop is installed and will hold the screen: use Raspberry Pi OS Lite, or run: systemctl disable display-manager"
  fi
}

existing() {
  folder=$1
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  echo "$folder"
}

# The camera's lines in config.txt are the owner's: they are looked at and left alone.
look_at_camera() {
  for config in /boot/firmware/config.txt /boot/config.txt; do
    [ -f "$config" ] || continue
    if grep -Eq '^[[:space:]]*camera_auto_detect=1' "$config"; then
      say "camera: found by the firmware (camera_auto_detect=1 in $config)"
    elif sensor=$(grep -Em1 '^[[:space:]]*dtoverlay=(imx|ov|arducam|pivariety)' "$config"); then
      say "camera: $sensor in $config"
    else
      warn "no camera in $config: add camera_auto_detect=1, or the dtoverlay of your sensor, and reboot"
    fi
    return 0
  done
  say "camera: no config.txt here, so nothing is known of one"
}

look_at_memory() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ] && ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
    warn "the memory limit of the service has no effect: add cgroup_enable=memory to /boot/firmware/cmdline.txt"
  fi
}

# The one wheel of tenohira, and the name of the folder for this version: the same content gives the same name.
look_at_wheels() {
  [ -n "$wheels" ] || wheels=$(dirname "$here")
  [ -d "$wheels" ] || fail "there is no folder $wheels; name the one with the wheels after --wheels"
  wheels=$(cd "$wheels" && pwd)
  set -- "$wheels"/tenohira-*.whl
  [ -f "$1" ] || fail "there is no tenohira-*.whl in $wheels; make the folder with: tenohira deploy --fetch-wheels DIR"
  [ $# = 1 ] || fail "there are several tenohira-*.whl in $wheels; leave only the one to be installed"
  wheel=$1
  version=$(basename "$wheel" | cut -d- -f2)
  content=$({ cat "$wheel"; ls "$wheels"; echo "$python $index"; } | sha256sum | cut -c1-8)
  release=$OPT/$version-$content
}

# --- prepare ---------------------------------------------------------------------------------------------------------

# Packages of the system. Without a network they cannot come; what is indispensable is then asked for in words.
packages() {
  needed='python3-venv'
  wanted='python3-picamera2 python3-gpiozero python3-lgpio'
  [ $kiosk = no ] || wanted="$wanted cage xwayland chromium" # cage ends without Xwayland
  absent=''
  for package in $needed $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || absent="$absent $package"
  done
  [ -n "$absent" ] || return 0
  say "packages of the system:$absent"
  [ $dry = no ] || return 0
  for package in $absent; do
    # One by one: plain Debian has no python3-picamera2, which must not keep the others away.
    if ! DEBIAN_FRONTEND=noninteractive quietly apt-get install -y -q --no-install-recommends \
      -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$package" 2>/dev/null; then
      case " $needed " in
        *" $package "*) fail "$package cannot be installed; connect a network once and run: apt-get update && apt-get install $package" ;;
        *) warn "$package cannot be installed (no network, or not in this system); without it: $(without "$package")" ;;
      esac
    fi
  done
}

without() {
  case $1 in
    python3-picamera2) echo "no camera of a Pi" ;;
    python3-gpiozero | python3-lgpio) echo "no lights and no shutter button" ;;
    *) echo "nothing on the touch screen" ;;
  esac
}

users() {
  getent group gpio >/dev/null || groupadd --system gpio
  getent passwd tenohira >/dev/null ||
    useradd --system --user-group --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin tenohira
  usermod --append --groups video,gpio tenohira
  install -d -o tenohira -g tenohira -m 0750 "$STATE" "$RECORD"
  install -d -m 0755 "$ETC" "$OPT"
  if [ $kiosk = yes ]; then
    getent passwd tenohira-kiosk >/dev/null ||
      useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin tenohira-kiosk
    for group in video render input; do
      if getent group $group >/dev/null; then usermod --append --groups $group tenohira-kiosk; fi
    done
  fi
}

# --- install ---------------------------------------------------------------------------------------------------------

# The version's own folder: an environment that sees the system's picamera2 and brings everything else with it.
build() {
  if [ -f "$release/complete" ]; then
    say "version $(basename "$release") is installed already"
    return 0
  fi
  say "installing into $release; this takes minutes"
  rm -rf "$release"
  source='--no-index'
  [ $index = no ] || source=''
  limits=''
  [ ! -f "$here/constraints-$python.txt" ] || limits="--constraint=$here/constraints-$python.txt"
  # shellcheck disable=SC2086  # either of them may be nothing at all
  if python3 -m venv --system-site-packages "$release" &&
    quietly "$release/bin/python" -m pip install --disable-pip-version-check --ignore-installed --no-cache-dir \
      $source --find-links "$wheels" $limits "$wheel"; then
    ln -s "$(cd "$release"/lib/python*/site-packages/device/service && pwd)" "$release/service"
  else
    rm -rf "$release"
    fail "the installation failed (see $LOG); nothing was changed: $(running)"
  fi
}

running() {
  if [ -e $OPT/current ]; then echo "$(basename "$(readlink -f $OPT/current)") goes on"; else echo "no version was there before"; fi
}

as_tenohira() {
  # The environment of whoever called is not the instrument's.
  setpriv --reuid tenohira --regid tenohira --init-groups --reset-env "$@"
}

tested() {
  say "self-test of version $(basename "$release"):"
  if (cd "$STATE" && as_tenohira "$release/bin/tenohira" selftest --software --store "$RECORD") >"$release/selftest" 2>>"$LOG"; then
    show "$release/selftest"
    sync # the whole version is on the card before anything points to it
    touch "$release/complete"
  else
    show "$release/selftest"
    [ "$release" != "$(readlink -f $OPT/current)" ] || fail "the self-test failed; do what it says, then run this again"
    rm -rf "$release"
    fail "the self-test of the new version failed; it was removed: $(running)"
  fi
}

show() {
  sed 's/^/  /' "$1"
  cat "$1" >>"$LOG"
}

settings() {
  [ -f "$ETC/tenohira.env" ] || install -m 0600 "$release/service/tenohira.env" "$ETC/tenohira.env"
  chmod 0600 "$ETC/tenohira.env" # it may hold the access code
  if [ -n "$camera" ]; then
    sed -i "s|^TENOHIRA_CAMERA=.*|TENOHIRA_CAMERA=$camera|" "$ETC/tenohira.env"
  fi
}

# --- switch ----------------------------------------------------------------------------------------------------------

link() {
  ln -sfn "$1" "$OPT/.$2.new"
  mv -T "$OPT/.$2.new" "$OPT/$2"
}

# Units and settings of the system come with each version, so that going back brings the old ones back.
units() {
  service=$1/service
  lay tenohira.service /etc/systemd/system/tenohira.service
  lay watchdog.conf /etc/systemd/system.conf.d/tenohira.conf
  lay journald.conf /etc/systemd/journald.conf.d/tenohira.conf
  lay tmpfiles.conf /etc/tmpfiles.d/tenohira.conf
  lay udev.rules /etc/udev/rules.d/60-tenohira.rules
  if [ $kiosk = yes ] || [ -f /etc/systemd/system/tenohira-kiosk.service ]; then
    lay tenohira-kiosk.service /etc/systemd/system/tenohira-kiosk.service
    lay tenohira-kiosk.pam /etc/pam.d/tenohira-kiosk
  fi
  ln -sfn $OPT/current/bin/tenohira /usr/local/bin/tenohira
}

lay() {
  install -D -m 0644 "$service/$1" "$2"
}

# Starts what "current" points to. Fails where it does not say that it is ready.
start() {
  if ! command -v systemctl >/dev/null; then
    warn "there is no systemctl: nothing starts by itself; install systemd, then run this again"
    return 0
  fi
  both='tenohira.service'
  [ ! -f /etc/systemd/system/tenohira-kiosk.service ] || both="$both tenohira-kiosk.service"
  # shellcheck disable=SC2086  # one or two names
  quietly systemctl enable $both || return 1
  systemd_runs || return 0
  systemctl daemon-reload
  systemctl daemon-reexec # takes over the board's watchdog
  systemctl try-restart systemd-journald
  if command -v udevadm >/dev/null; then udevadm control --reload 2>>"$LOG" || true; fi
  systemctl reset-failed tenohira.service 2>/dev/null || true
  quietly systemctl restart tenohira.service || return 1
  [ "$both" = tenohira.service ] || quietly systemctl restart tenohira-kiosk.service || warn "the touch screen's page did not start; see: journalctl -u tenohira-kiosk"
}

switch() {
  after=$1
  before=$(readlink -e $OPT/current || true)
  [ "$before" != "$after" ] || before=''
  units "$after"
  link "$after" current
  if ! start; then
    say "the new version does not start:"
    journalctl -u tenohira.service -n 15 --no-pager -o cat 2>/dev/null | sed 's/^/  /' || true
    rm -f "$after/complete"
    [ -n "$before" ] || fail "see: journalctl -u tenohira; an older version, if there is one, comes back with --rollback"
    units "$before"
    link "$before" current
    start || fail "the version before does not start either; see: journalctl -u tenohira"
    fail "went back to $(basename "$before"), which runs"
  fi
  if [ -f "$before/complete" ]; then link "$before" previous; fi
}

prune() {
  keep="$(readlink -f $OPT/current) $(readlink -f $OPT/previous 2>/dev/null || true)"
  for folder in "$OPT"/*/; do
    folder=${folder%/}
    [ -L "$folder" ] && continue
    case " $keep " in
      *" $folder "*) ;;
      *) rm -rf "$folder" ;;
    esac
  done
}

go_back() {
  [ -L $OPT/previous ] || fail "there is no version before; nothing was changed"
  old=$(readlink -f $OPT/previous)
  [ -f "$old/complete" ] || fail "the version before is not whole; nothing was changed"
  switch "$old"
  say "went back to $(basename "$old")"
}

main() {
  arguments "$@"
  look
  if [ $rollback = yes ]; then
    go_back
    return 0
  fi
  if [ $dry = yes ]; then
    packages
    say "nothing was changed"
    return 0
  fi
  look_at_wheels
  packages
  users
  build
  tested
  settings
  switch "$release"
  prune
  say "tenohira $version is installed in $(readlink -f $OPT/current)"
  if systemd_runs; then say "service: $(systemctl is-active tenohira.service)"; fi
  [ $warnings = 0 ] || say "$warnings notes above want a look"
}

main "$@"
