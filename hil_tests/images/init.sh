#!/bin/busybox sh
# The first program of the emulated machine. It mounts the disk and goes on as the kernel's command line says:
#   tenohira.run=FILE   runs FILE (a path in the initramfs' folder /job, which the root sees too) with the disk
#                       read-only below a layer of memory, prints its exit code, and switches off
#   otherwise           hands over to the disk's own /sbin/init (systemd), disk writable

/bin/busybox mkdir -p /bin /proc /sys /dev /disk /layer /root /job
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module"; done

run=''
for word in $(cat /proc/cmdline); do
  case $word in tenohira.run=*) run=${word#*=} ;; esac
done
until [ -b /dev/vda ]; do sleep 0.1; done

if [ -z "$run" ]; then
  mount -t ext4 -o rw /dev/vda /root
  umount /proc /sys
  mount --move /dev /root/dev
  exec switch_root /root /sbin/init
fi

mount -t ext4 -o ro /dev/vda /disk
mount -t tmpfs tmpfs /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/disk,upperdir=/layer/upper,workdir=/layer/work overlay /root
for place in proc sys dev; do mount --move /$place /root/$place; done
mount -t tmpfs tmpfs /root/tmp
mkdir /root/dev/shm
mount -t tmpfs tmpfs /root/dev/shm
ip link set lo up
mkdir -p /root/job
mount --bind /job /root/job
env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 chroot /root "$run"
echo "tenohira.run ended: $?"
sync
poweroff -f
