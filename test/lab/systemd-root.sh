#!/bin/sh
# Turns the namespaces it runs in into a machine of its own and becomes that machine's PID 1, a real systemd. Only
# systemd-machine.ts calls it, as PID 1 of new mount, PID, UTS, IPC and network namespaces:
#
#   systemd-root.sh ROOT PROJECT CGROUP
#
# ROOT is an empty folder, PROJECT this repository (node_modules may be a link), CGROUP a control group of version 2 made
# for this machine. What it promises: nothing that runs here can write a file of the host. Every mount is private; the
# root is a tmpfs; of the host there is only /usr, PROJECT and a few devices, file systems read-only; the old root is
# unmounted before systemd starts; and systemd knows no unit but those named below, so no systemd-tmpfiles, udev or mount.
set -eu
umask 022

ROOT=$1 PROJECT=$2 CGROUP=$3

# The units of Debian's systemd that the peer's unit leans on. A unit that is not here does not exist.
UNITS="sysinit.target basic.target multi-user.target shutdown.target sockets.target timers.target paths.target
  slices.target local-fs.target local-fs-pre.target network.target network-online.target umount.target final.target
  systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket exit.target systemd-exit.service"

# Who started us is in a PID namespace that systemd does not see, and could not be moved out of the group.
echo 0 >"$CGROUP/cgroup.procs"

if [ "${4-}" != inside ]; then exec unshare --cgroup --propagation private sh "$0" "$@" inside; fi

here() { mkdir -p "$ROOT/$1"; }
shown() {
  here "$2"
  mount --bind "$1" "$ROOT/$2"
  mount -o remount,bind,ro "$ROOT/$2"
}

mount --make-rprivate /
mount -t tmpfs -o mode=755 lab "$ROOT"
for folder in tmp run var etc root dev proc sys opt/godwit; do here $folder; done
chmod 1777 "$ROOT/tmp"

shown /usr usr
for folder in bin sbin lib lib32 lib64 libx32; do
  if [ -L /$folder ]; then cp -P /$folder "$ROOT/"; elif [ -d /$folder ]; then shown /$folder $folder; fi
done
# The host's own programs of /usr/local are not this machine's; `godwit` will be.
mount -t tmpfs -o mode=755 lab "$ROOT/usr/local/bin"

for file in package.json node protocols storage migration simulator test; do
  if [ -d "$PROJECT/$file" ]; then shown "$PROJECT/$file" opt/godwit/$file; else cp "$PROJECT/$file" "$ROOT/opt/godwit/"; fi
done
shown "$(readlink -f "$PROJECT/node_modules")" opt/godwit/node_modules

mount -t proc -o nosuid,nodev,noexec proc "$ROOT/proc"
# systemd raises limits of the kernel as it starts: not of this one.
mount --bind "$ROOT/proc/sys" "$ROOT/proc/sys"
mount -o remount,bind,ro "$ROOT/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$ROOT/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$ROOT/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid lab "$ROOT/dev"
for device in null zero full random urandom tty kvm; do
  [ -e /dev/$device ] || continue
  : >"$ROOT/dev/$device"
  mount --bind /dev/$device "$ROOT/dev/$device"
done
mkdir "$ROOT/dev/shm" "$ROOT/dev/pts"
mount -t tmpfs -o mode=1777 lab "$ROOT/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$ROOT/dev/pts"
ln -s pts/ptmx "$ROOT/dev/ptmx"
ln -s /proc/self/fd "$ROOT/dev/fd"

echo 'root:x:0:0:root:/root:/bin/sh' >"$ROOT/etc/passwd"
echo 'root:x:0:' >"$ROOT/etc/group"
tr -d - </proc/sys/kernel/random/uuid >"$ROOT/etc/machine-id"
echo lab >"$ROOT/etc/hostname"
cp /etc/os-release /etc/ld.so.cache "$ROOT/etc/" 2>/dev/null || :
cp -a /etc/alternatives "$ROOT/etc/" 2>/dev/null || :

units=$ROOT/etc/systemd/system
mkdir -p "$units/sysinit.target.wants" "$ROOT/etc/systemd/generators"
for unit in $UNITS; do cp "/usr/lib/systemd/system/$unit" "$units/"; done
for unit in systemd-journald.service; do ln -s "../$unit" "$units/sysinit.target.wants/"; done
ln -s multi-user.target "$units/default.target"
# Twice sure: they would not be found, and if they were, they are masked.
for unit in setup setup-dev clean; do ln -s /dev/null "$units/systemd-tmpfiles-$unit.service"; done
ln -s /dev/null "$units/systemd-tmpfiles-clean.timer"

cd "$ROOT"
mkdir old
pivot_root . old
umount -l /old
rmdir /old
cd /

# Without these not even a mistake reaches the kernel's clock, modules or power.
exec setpriv --bounding-set=-sys_boot,-sys_module,-sys_time,-sys_rawio,-syslog \
  env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_GENERATOR_PATH=/etc/systemd/generators \
  SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/etc/systemd/generators \
  /usr/lib/systemd/systemd --system --show-status=no --log-target=journal-or-kmsg
