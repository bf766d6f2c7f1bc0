#!/bin/sh
# Keeps namespaces for a daemon of Docker for as long as somebody holds its input open, then ends all that is in them and
# removes what is left: also when whoever started it was killed.
# Usage: keep-dockerd.sh <folder of the daemon> <its control group>. Says the pid to enter the namespaces of.
folder=$1 group=$2
unshare --net --mount sh -c 'ip link set lo up && echo $$ && exec sleep infinity' &
holder=$!
cat >/dev/null
groups() { find /sys/fs/cgroup/*/"$group" "$@" 2>/dev/null; }
for round in 1 2 3 4 5 6 7 8 9 10; do
  # The daemon and its helpers name the folder; what runs in containers is in the control group.
  pids=$(
    grep -la -- "$folder/" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | grep -vx "$$"
    groups -name cgroup.procs -exec cat {} +
  )
  for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
  groups -depth -type d -exec rmdir {} \; 2>/dev/null
  [ -z "$pids" ] && [ -z "$(groups -type d)" ] && break
  sleep 0.2
done
kill -9 "$holder"
wait "$holder" 2>/dev/null
rm -rf "$folder"
