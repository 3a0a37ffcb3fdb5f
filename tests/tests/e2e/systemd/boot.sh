#!/bin/sh
# Boots a systemd of its own, as process 1 of namespaces of its own, over this machine's files: what it writes stays in
# memory and goes with it. Run by `unshare --pid --fork --mount --uts --ipc --cgroup --net`; takes an empty folder, and the
# program to install as /usr/local/bin/webos.
set -eu
base=$1 program=$2
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rprivate /
ip link set lo up
mount -t tmpfs tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"
install -m 755 "$program" usr/local/bin/webos
mount -t proc proc proc
mount --rbind /dev dev
mount --make-rslave dev
mount -t sysfs -o ro sysfs sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
fi
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
# Nothing of this machine's own services is started.
rm -rf etc/systemd/system var/lib/webos
mkdir -p etc/systemd/system old
echo 0123456789abcdef0123456789abcdef > etc/machine-id
cat > etc/systemd/system/webos-test.target <<X
[Unit]
DefaultDependencies=no
Requires=systemd-journald.service
After=systemd-journald.service
X
pivot_root . old
cd /
umount -l /old
exec env -i container=webos PATH=$PATH /usr/lib/systemd/systemd --system --unit=webos-test.target --log-target=journal
