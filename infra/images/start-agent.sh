#!/bin/sh
# Starts an agent under the first name that no other agent of this machine has. Replicas have one configuration, but
# each needs a name, a work directory and ports of its own, and the same again when its container is made anew.
set -eu
folder=${MESOBUS_AGENTS_DIR:-/var/lib/mesobus/agents}
mkdir -p "$folder"
number=0
while :; do
  number=$((number + 1))
  # Held until this process ends, however it ends; the agent is this process.
  exec 9>"$folder/agent-$number.lock"
  flock --nonblock 9 && break
done
name=agent-$number
first=$((31000 + 100 * (number - 1)))
export MESOBUS_NAME="$name"
# Where there are credentials at all, each has its own.
if [ -e /run/mesobus/tls-ca.pem ]; then
  export MESOBUS_NATS_CREDS="/run/mesobus/$name.creds"
  [ -e "$MESOBUS_NATS_CREDS" ] ||
    echo "No credentials for $name: start with MESOBUS_AGENTS=$number, or fewer agents" >&2
fi
export MESOBUS_HOSTNAME="${MESOBUS_HOSTNAME:-$name}"
export MESOBUS_WORK_DIR="$folder/$name"
export MESOBUS_RESOURCES="${MESOBUS_RESOURCES:-cpus:1;mem:1024;disk:10240};ports:[$first-$((first + 99))]"

# Docker shows a container its own control groups, to be read only.
own_groups() {
  while read -r _ place type _; do
    case $type in cgroup | cgroup2) mount -o remount,bind,rw "$place" ;; esac
  done </proc/self/mounts
  [ -e /sys/fs/cgroup/cgroup.controllers ] || return 0
  # Of version 2 a group that has groups has no processes.
  mkdir -p /sys/fs/cgroup/agent
  echo $$ >/sys/fs/cgroup/agent/cgroup.procs
}
case ${MESOBUS_ISOLATION:-} in *cgroups*) own_groups ;; esac
exec mesobus-agent "$@"
