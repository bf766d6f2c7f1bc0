#!/bin/sh
# Machines with systemd and a network between them, all in namespaces: what it runs in ends with it, and all that it has
# made, except for the control groups. It ends when its input does.
# Usage: unshare --pid --mount --net --fork --kill-child --mount-proc rack.sh DEBIAN WORK GROUP NAME...
set -eu
debian=$1 work=$2 group=$3
shift 3
own=$(cd "$(dirname "$0")" && pwd)
mount --make-rprivate /
mount -t tmpfs tmpfs /run
ip link add rack type bridge
ip link set rack up
host=10
for name in "$@"; do
  echo "198.18.78.$host $name" >>"$work/hosts"
  host=$((host + 1))
done
host=10
for name in "$@"; do
  mkdir -p "$work/$name/upper" "$work/$name/work" "$work/$name/root"
  mount -t overlay -o "lowerdir=$debian,upperdir=$work/$name/upper,workdir=$work/$name/work" overlay "$work/$name/root"
  { echo '127.0.0.1 localhost'; cat "$work/hosts"; } >"$work/$name/root/etc/hosts"
  echo "$name" >"$work/$name/root/etc/hostname"
  ip netns add "$name"
  ip link add "rack$host" type veth peer name eth0 netns "$name"
  ip link set "rack$host" master rack up
  ip -n "$name" address add "198.18.78.$host/24" dev eth0
  ip -n "$name" link set eth0 up
  # shellcheck disable=SC2016 # it is for the other shell
  sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh "$group/$name" \
    ip netns exec "$name" unshare --pid --mount --uts --ipc --cgroup --fork --kill-child \
    sh "$own/machine.sh" "$work/$name/root" "$name" >"$work/$name/console" 2>&1 &
  host=$((host + 1))
done
cat >/dev/null
