#!/bin/sh
# What mmdebstrap calls while it makes the arm64 root. Under emulation the slow programs of Debian's maintainer scripts
# are stood in for by nothing (what they make is made afterwards, or not needed), and restored at the end.
#
#   hooks.sh stub ROOT | unstub ROOT | fetch ROOT FOLDER

set -eu
root=$2
python=/usr/bin/python3.13
stubs="$python /usr/bin/py3compile /usr/bin/systemd-hwdb /usr/sbin/update-ca-certificates"

divert() {
  chroot "$root" dpkg-divert --quiet --local --rename --divert "$2.real" "$1" "$2"
}

case $1 in
  stub)
    for program in $stubs; do
      divert --add "$program"
      printf '#!/bin/sh\n' >"$root$program"
      # Python itself is asked for more than byte-compiling.
      [ "$program" != $python ] || printf 'case "$*" in *py_compile.py*) exit 0 ;; esac\nexec %s.real "$@"\n' $python >>"$root$program"
      chmod 755 "$root$program"
    done
    ;;
  unstub)
    for program in $stubs; do
      rm "$root$program"
      divert --remove "$program"
    done
    ;;
  fetch)
    # The kernel is wanted beside the root, and without what its installation does (it would make an initramfs).
    export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
    image=$(apt-cache depends linux-image-arm64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p')
    mkdir -p "$3"
    cd "$3"
    apt-get download --quiet "$image" busybox-static
    ;;
esac
