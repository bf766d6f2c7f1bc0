#!/bin/sh
# The first program on the disk of the emulated machine: runs the tests and switches the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# What is written goes to the disk soon: a test waits for that.
echo 100 >/proc/sys/vm/dirty_writeback_centisecs
echo 100 >/proc/sys/vm/dirty_expire_centisecs
busybox ifconfig lo up
busybox hostname machine
echo "machine: linux $(uname -r), control groups: $(cat /sys/fs/cgroup/cgroup.controllers)"

# Node needs not take the types away again for each agent that a test starts.
export NODE_COMPILE_CACHE=/tmp/compiled

# Of each process but the kernel's own: where its threads wait, and what it has open.
tell_processes() {
  busybox ps -o pid,ppid,stat,args
  for folder in /proc/[0-9]*; do
    args=$(busybox tr '\0' ' ' <"$folder/cmdline")
    [ -n "$args" ] || continue
    echo "machine: ${folder#/proc/} $args"
    echo "machine:   in $(cat "$folder/cgroup")"
    for task in "$folder"/task/*; do
      echo "machine:   thread $(cat "$task/comm"): $(busybox tr '\n' ' ' <"$task/stack")"
    done
    for fd in "$folder"/fd/*; do echo "machine:   ${fd##*/} is $(readlink "$fd")"; done
  done
  echo 'machine: locks'
  cat /proc/locks
}

# Seconds in which there was nothing to do.
idle_seconds() {
  read -r _ idle </proc/uptime
  echo "${idle%.*}"
}

cd /checkout/services/agent
# How long a test takes is up to the machine that emulates this one. One that waits while there is nothing to do is stuck.
{
  node ../../node_modules/ava/entrypoints/cli.js --tap --serial --timeout 1h $(cat /tests-to-run) 2>&1
  echo $? >/status
} | busybox tee /said &
while [ ! -e /status ]; do
  sleep 5
  now=$(busybox wc -c </said)
  [ "$now" = "$said" ] || since=$(idle_seconds)
  said=$now
  if [ $(($(idle_seconds) - since)) -ge 120 ]; then
    echo 'machine: the next test is stuck: nothing was done for 120 s, while there was'
    tell_processes 2>/dev/null
    echo 124 >/status # as timeout(1) ends
  fi
done
sleep 1 # what was said last is on its way
echo "machine: the tests ended with $(cat /status)"
busybox poweroff -f
