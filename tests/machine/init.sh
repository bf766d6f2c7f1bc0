#!/bin/sh
# The first program on the disk of the emulated machine: runs the tests and switches the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
busybox ifconfig lo up
busybox hostname machine
echo "machine: linux $(uname -r), control groups: $(cat /sys/fs/cgroup/cgroup.controllers)"
cd /checkout/services/agent
# The processor is emulated: everything takes its time.
node ../../node_modules/ava/entrypoints/cli.js --tap --serial --timeout 10m $(cat /tests-to-run) 2>&1
echo "machine: the tests ended with $?"
busybox poweroff -f
