#!/bin/sh
# Installs, upgrades and removes Mesobus on a machine with systemd. Run again with the same arguments it changes nothing.
set -eu
umask 022
export LC_ALL=C

usage() {
  cat <<'EOF'
Usage: install.sh --role ROLE... --package FILE [--config DIR]     install, or upgrade
       install.sh --role ROLE... --activate VERSION                 go back to a version that is still installed
       install.sh --uninstall                                       remove it; data, configuration and users stay

  --role nats|control|agent  what runs here; may be given several times
  --package FILE             mesobus-<version>-linux-<arch>.tar.gz
  --config DIR               files for /etc/mesobus; one that was edited there stays, and the new one goes beside it
  --root DIR                 install into a system below DIR and start nothing
  --no-wait                  do not wait until it is well: for the first servers of a new cluster
  --dry-run                  say what would be done
EOF
}

roles='' package='' config='' root='' activate='' uninstall=no dry=no wait=yes
etc=/etc/mesobus opt=/opt/mesobus units=/usr/local/lib/systemd/system
changes=0

say() { printf 'install: %s\n' "$*"; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }

# Does it, or with --dry-run says what it would do.
run() {
  changes=$((changes + 1))
  if [ $dry = yes ]; then say "would run: $*"; else "$@"; fi
}

while [ $# -gt 0 ]; do
  case $1 in
    --role | --package | --config | --root | --activate)
      [ $# -ge 2 ] || die "Cannot use $1 without a value; --help says more"
      case $1 in
        --role) roles="$roles $2" ;;
        --package) package=$2 ;;
        --config) config=$2 ;;
        --root) root=${2%/} ;;
        --activate) activate=$2 ;;
      esac
      shift 2
      ;;
    --uninstall) uninstall=yes && shift ;;
    --dry-run) dry=yes && shift ;;
    --no-wait) wait=no && shift ;;
    --help) usage && exit 0 ;;
    *) die "Cannot use '$1'; --help lists what there is" ;;
  esac
done

# Of all roles given, in the order in which they start.
services_of() {
  for role in nats control agent; do
    case " $1 " in *" $role "*) ;; *) continue ;; esac
    case $role in
      nats) echo nats ;;
      control) echo registry master allocator ;;
      agent) echo agent ;;
    esac
  done
}

for role in $roles; do
  case $role in nats | control | agent) ;; *) die "Cannot use --role $role: it is nats, control or agent" ;; esac
done
[ -n "$root" ] || [ "$(id -u)" = 0 ] || die 'Cannot install as a normal user: run it as root, or with --root'
services=$(services_of "$roles" | tr '\n' ' ')

# --- files -----------------------------------------------------------------------------------------------------------

make_folder() { # folder mode group
  [ -d "$root$1" ] || run install -d -m "$2" -g "$(gid "$3")" "$root$1"
}

# Of the system that is installed into. With --dry-run its users may not be there yet, and only root may give files away.
gid() {
  found=$(awk -F: -v name="$1" '$1 == name { print $3 }' "$root/etc/group")
  if [ "$(id -u)" = 0 ]; then echo "${found:-0}"; else id -g; fi
}

# Puts a file of ours where it belongs, if it is another one.
put() { # source destination mode group
  cmp -s "$1" "$root$2" || run install -D -m "$3" -g "$(gid "$4")" "$1" "$root$2"
}

sum_of() { sha256sum <"$1" | cut -d ' ' -f 1; }
sums=$opt/config.sums

# A file of /etc/mesobus: its readers are those who need it.
put_config() { # source name
  case $2 in
    nats/*) put "$1" "$etc/$2" 640 mesobus-nats ;;
    *.env) put "$1" "$etc/$2" 600 root ;;
    *) put "$1" "$etc/$2" 640 mesobus ;;
  esac
}

# What nobody has edited since it was put there is replaced; what somebody has edited is kept.
offer_config() { # source name
  theirs=$root$etc/$2
  if [ -e "$theirs" ] && ! cmp -s "$1" "$theirs" && ! grep -qsxF "$(sum_of "$theirs")  $2" "$root$sums"; then
    cmp -s "$1" "$theirs.new" || say "keeps $etc/$2, which was edited; the new one is $etc/$2.new"
    put_config "$1" "$2.new"
    return
  fi
  put_config "$1" "$2"
  line="$(sum_of "$1")  $2"
  grep -qsxF "$line" "$root$sums" || run remember "$line" "$2"
}

remember() { # line name
  { grep -v "  $2\$" "$root$sums" 2>/dev/null || true; echo "$1"; } >"$root$sums.fresh"
  mv "$root$sums.fresh" "$root$sums"
}

make_users() {
  grep -qs '^mesobus-nats:' "$root/etc/passwd" && grep -qs '^mesobus:' "$root/etc/passwd" && return
  run systemd-sysusers ${root:+"--root=$root"} "$source/vm/units/sysusers.conf"
}

# --- the package -----------------------------------------------------------------------------------------------------

# Sets version: the one that is to run; and source: where its files can be read.
unpack() {
  if [ -n "$activate" ]; then
    version=$activate source=$root$opt/$activate
    [ -x "$source/bin/node" ] || die "Cannot go to $version: $opt/$version is not there; give its --package"
    return
  fi
  [ -r "$package" ] || die "Cannot read the package '$package'; npm run package makes one"
  first=$(tar -tzf "$package" 2>/dev/null | head -n 1)
  version=${first%%/*} && version=${version#mesobus-}
  case $first in mesobus-[0-9]*/*) ;; *) die "Cannot use '$package': it is no package of Mesobus" ;; esac
  sum=$(sum_of "$package")
  source=$root$opt/$version
  [ "$(cat "$source/.package" 2>/dev/null)" = "$sum" ] && return
  if [ $dry = yes ]; then
    work=$(mktemp -d "${TMPDIR:-/tmp}/mesobus.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    tar -xzf "$package" -C "$work" --strip-components=1 "mesobus-$version/vm"
    source=$work
    run tar -xzf "$package" -C "$opt"
    return
  fi
  fresh=$root$opt/.$version.$$
  trap 'rm -rf "$fresh"' EXIT
  mkdir -p "$fresh"
  run tar -xzf "$package" -C "$fresh" --strip-components=1 --no-same-owner
  "$fresh/bin/node" -e '' || die "Cannot run the node of '$package' here; is it for this architecture?"
  echo "$sum" >"$fresh/.package"
  rm -rf "$source"
  mv "$fresh" "$source"
}

activate() {
  old=$(readlink "$root$opt/current" || true)
  [ "$old" = "$version" ] && return
  say "goes from ${old:-nothing} to $version"
  [ -z "$old" ] || run point previous "$old"
  run point current "$version"
}

# In one step: there is always a version.
point() {
  ln -sfn "$2" "$root$opt/$1.fresh"
  mv -T "$root$opt/$1.fresh" "$root$opt/$1"
}

# The one before stays, to go back to.
prune() {
  for folder in "$root$opt"/[0-9]*; do
    name=${folder##*/}
    [ -d "$folder" ] && [ "$name" != "$version" ] || continue
    [ "$name" = "$(readlink "$root$opt/previous" || true)" ] || run rm -rf "$folder"
  done
}

# --- running services ------------------------------------------------------------------------------------------------

show() { systemctl show --value --timestamp=unix -p "$2" "mesobus-$1.service"; }

# Whether what runs is not what is installed.
is_stale() {
  pid=$(show "$1" MainPID)
  if [ "$1" = nats ]; then
    cmp -s "/proc/$pid/exe" "$opt/current/bin/nats-server" || return 0
    files=$(find $etc/nats -type f)
  else
    [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f $opt/current/bin/node)" ] || return 0
    files="$etc/cluster.env $(sed -n 's|^MESOBUS_NATS_[A-Z_]*=\(/.*\)|\1|p' $etc/cluster.env "$etc/$1.env")"
  fi
  started=$(show "$1" ExecMainStartTimestamp)
  for file in $(show "$1" FragmentPath) $(show "$1" DropInPaths) "$etc/$1.env" $files; do
    if [ -e "$file" ] && [ "$(stat -c %Y "$file")" -gt "${started#@}" ]; then return 0; fi
  done
  return 1
}

# Where a service tells how it is; empty: nowhere.
health_of() {
  if [ "$1" = nats ]; then
    echo http://127.0.0.1:8222/healthz
    return
  fi
  at=$(sed -n 's/^MESOBUS_HTTP=//p' $etc/cluster.env "$etc/$1.env" | tail -n 1 | sed 's/^0\.0\.0\.0:/127.0.0.1:/; s/^\[::\]:/[::1]:/')
  [ -z "$at" ] || echo "http://$at/health"
}

ask='fetch(process.argv[1]).then(async (answer) => {
  if (!answer.ok) throw new Error((await answer.text()).trim());
}).catch((error) => { console.log(String(error.cause ?? error)); process.exitCode = 1; })'

wait_for() {
  health=$(health_of "$1")
  tries=0 why="systemd says $(show "$1" ActiveState)"
  while [ $tries -lt 120 ]; do
    if [ "$(show "$1" ActiveState)" = active ]; then
      if [ -z "$health" ] || why=$($opt/current/bin/node -e "$ask" "$health"); then
        say "mesobus-$1 is well"
        return
      fi
    fi
    tries=$((tries + 1))
    sleep 1
  done
  die "mesobus-$1 is not well after two minutes: $why; see journalctl -u mesobus-$1, mend $etc/$1.env and run this again"
}

start() {
  [ "$(systemctl is-enabled mesobus.target 2>/dev/null || true)" = enabled ] || run systemctl enable --quiet mesobus.target
  for service in $services; do
    unit=mesobus-$service.service
    [ "$(systemctl is-enabled $unit 2>/dev/null || true)" = enabled ] || run systemctl enable --quiet $unit
    if [ "$(show "$service" ActiveState)" != active ]; then
      say "starts mesobus-$service"
      run systemctl restart $unit
    elif is_stale "$service"; then
      say "restarts mesobus-$service"
      run systemctl restart $unit
    fi
    [ $dry = yes ] || [ $wait = no ] || wait_for "$service"
  done
}

install_all() {
  [ -n "$services" ] || die 'Cannot install nothing: give at least one --role'
  [ -n "$package" ] || [ -n "$activate" ] || die 'Cannot install without --package or --activate; --help says more'
  [ -z "$config" ] || [ -d "$config" ] || die "Cannot read the folder '$config' of --config"
  [ -d "$root$opt" ] || run install -d -m 755 "$root$opt"
  unpack
  make_users
  activate
  prune
  [ "$(readlink "$root/usr/local/bin/mesobus" || true)" = $opt/current/bin/mesobus ] ||
    run ln -sfn $opt/current/bin/mesobus "$root/usr/local/bin/mesobus"

  make_folder $etc 755 root
  make_folder $etc/nats 750 mesobus-nats
  make_folder $etc/creds 750 mesobus
  # The servers write there what they are told of accounts.
  [ -L "$root$etc/nats/jwt" ] || run ln -s /var/lib/mesobus-nats/jwt "$root$etc/nats/jwt"
  if [ -n "$config" ]; then
    for file in $(cd "$config" && find . -type f | sort); do offer_config "$config/$file" "${file#./}"; done
  fi
  for file in cluster.env $(for one in $services; do [ $one = nats ] && echo nats/nats.conf || echo $one.env; done); do
    [ -e "$root$etc/$file" ] || put_config "$source/vm/defaults/$file" "$file"
  done

  before=$changes
  for unit in mesobus.target $(for one in $services; do echo "mesobus-$one.service"; done); do
    put "$source/vm/units/$unit" "$units/$unit" 644 root
  done
  if [ -n "$root" ]; then
    for one in $services; do enable_below "mesobus-$one.service" mesobus.target; done
    enable_below mesobus.target multi-user.target
    return
  fi
  [ $changes = $before ] || run systemctl daemon-reload
  start
}

# What `systemctl enable` does, for a system that does not run.
enable_below() {
  link=$root/etc/systemd/system/$2.wants/$1
  [ -L "$link" ] && return
  run install -d "${link%/*}"
  run ln -s "$units/$1" "$link"
}

# --- removal ---------------------------------------------------------------------------------------------------------

uninstall_all() {
  # From last to first. An agent that is told so ends its tasks and takes its leave.
  for service in agent allocator master registry nats; do
    unit=mesobus-$service.service
    [ -e "$root$units/$unit" ] || continue
    if [ -z "$root" ]; then
      if [ $service = agent ] && systemctl --quiet is-active $unit; then
        say 'ends the tasks of the agent'
        run systemctl kill --kill-whom=main --signal=SIGUSR1 $unit
        wait_until_inactive $unit
      fi
      say "stops mesobus-$service"
      run systemctl disable --quiet --now $unit
    fi
    run rm -f "$root$units/$unit" "$root/etc/systemd/system/mesobus.target.wants/$unit"
  done
  rmdir "$root/etc/systemd/system/mesobus.target.wants" 2>/dev/null || true
  if [ -e "$root$units/mesobus.target" ]; then
    [ -n "$root" ] || run systemctl disable --quiet --now mesobus.target
    run rm -f "$root$units/mesobus.target" "$root/etc/systemd/system/multi-user.target.wants/mesobus.target"
    [ -n "$root" ] || run systemctl daemon-reload
  fi
  [ ! -L "$root/usr/local/bin/mesobus" ] || run rm -f "$root/usr/local/bin/mesobus"
  [ ! -d "$root$opt" ] || run rm -rf "$root$opt"
  say "left $etc, /var/lib/mesobus, /var/lib/mesobus-nats and the users mesobus and mesobus-nats"
}

wait_until_inactive() {
  [ $dry = no ] || return 0
  tries=0
  while systemctl --quiet is-active "$1" && [ $tries -lt 90 ]; do
    tries=$((tries + 1))
    sleep 1
  done
}

if [ $uninstall = yes ]; then uninstall_all; else install_all; fi
if [ $changes = 0 ]; then say 'nothing to change'; fi
