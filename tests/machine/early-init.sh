#!/bin/busybox sh
# The first program of the emulated machine, in memory: makes the disk reachable and goes on there.
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
# Modules need each other: what fails in one pass succeeds in a later one.
for _ in 1 2 3 4; do
  for module in /modules/*.ko; do /bin/busybox insmod "$module" 2>/dev/null; done
done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /init
