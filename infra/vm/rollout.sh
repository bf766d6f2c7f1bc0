#!/bin/sh
# Brings a version and its configuration to machines, one after the other, and waits for each to be well: nothing that
# runs is lost. The first that is not well ends it. Run again it goes on where something is left to change.
set -eu

usage() {
  cat <<'EOF'
Usage: rollout.sh --inventory FILE --package FILE [--config DIR] [--first] [--sudo]
       rollout.sh --inventory FILE --activate VERSION [--sudo]
       rollout.sh --inventory FILE --uninstall [--sudo]

  --inventory FILE    a line for each machine: its name for ssh, then nats, control or agent
  --package FILE      mesobus-<version>-linux-<arch>.tar.gz
  --config DIR        what each machine gets in /etc/mesobus: DIR/all, DIR/<role> and DIR/<machine>
  --first             of a new cluster: all are started before the first can be well
  --activate VERSION  go back to the version before
  --uninstall         ends everything, from the last machine to the first
  --sudo              become root by sudo

MESOBUS_SSH is used instead of ssh, with the machine and a command.
EOF
}

die() { printf 'rollout: %s\n' "$*" >&2; exit 1; }

inventory='' package='' config='' activate='' first=no sudo='' uninstall=no
ssh=${MESOBUS_SSH:-ssh}
own=$(cd "$(dirname "$0")" && pwd)

while [ $# -gt 0 ]; do
  case $1 in
    --inventory | --package | --config | --activate)
      [ $# -ge 2 ] || die "Cannot use $1 without a value; --help says more"
      case $1 in
        --inventory) inventory=$2 ;;
        --package) package=$2 ;;
        --config) config=$2 ;;
        --activate) activate=$2 ;;
      esac
      shift 2
      ;;
    --first) first=yes && shift ;;
    --sudo) sudo=sudo && shift ;;
    --uninstall) uninstall=yes && shift ;;
    --help) usage && exit 0 ;;
    *) die "Cannot use '$1'; --help lists what there is" ;;
  esac
done
[ -r "$inventory" ] || die "Cannot read the inventory '$inventory'; name it with --inventory"
[ -z "$package" ] || [ -r "$package" ] || die "Cannot read the package '$package'; npm run package makes one"
[ -z "$config" ] || [ -d "$config" ] || die "Cannot read the folder '$config' of --config"
[ -n "$package$activate" ] || [ $uninstall = yes ] || die 'Cannot go on without --package or --activate; --help says more'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077

machines() { sed 's/#.*//; /^[[:space:]]*$/d' "$inventory"; }

# What goes to a machine: the installer, the package if it lacks it, and its own part of the configuration.
load() { # machine roles
  rm -rf "$work/load"
  mkdir -p "$work/load/config"
  cp "$own/install.sh" "$work/load"
  [ -z "$package" ] || ln -s "$(readlink -f "$package")" "$work/load/package"
  for part in all $2 "$1"; do
    [ -z "$config" ] || [ ! -d "$config/$part" ] || cp -R "$config/$part/." "$work/load/config"
  done
}

# Runs the installer there.
install_on() { # machine roles, flags...
  machine=$1
  roles=$2
  shift 2
  flags="$*"
  for role in $roles; do flags="$flags --role $role"; done
  [ -z "$package" ] || flags="$flags --package \$folder/package --config \$folder/config"
  [ -z "$activate" ] || flags="$flags --activate $activate"
  printf '== %s\n' "$machine"
  load "$machine" "$roles"
  # shellcheck disable=SC2086 # it may have flags
  tar -chf - -C "$work/load" . | $ssh "$machine" "$sudo sh -c '
    folder=\$(mktemp -d) && trap \"rm -rf \$folder\" EXIT &&
    tar -xf - --no-same-owner -C \$folder && sh \$folder/install.sh $flags'" ||
    die "$machine is not well: the machines behind it are as they were"
}

if [ $uninstall = yes ]; then
  package='' config=''
  machines | tac >"$work/list"
  while read -r machine roles <&3; do install_on "$machine" '' --uninstall; done 3<"$work/list"
  exit
fi
machines >"$work/list"
if [ $first = yes ]; then
  while read -r machine roles <&3; do install_on "$machine" "$roles" --no-wait; done 3<"$work/list"
fi
while read -r machine roles <&3; do install_on "$machine" "$roles"; done 3<"$work/list"
