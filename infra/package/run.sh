#!/bin/sh
# Starts @NAME@ with the node beside it, from whatever folder and through whatever links.
set -eu
self=$0
while [ -L "$self" ]; do
  target=$(readlink "$self")
  case $target in
    /*) self=$target ;;
    *) self=$(dirname "$self")/$target ;;
  esac
done
# Without links: a process stays with its version when `current` comes to mean another.
bin=$(cd "$(dirname "$self")" && pwd -P)
@DEFAULTS@
exec "$bin/node" "$bin/../lib/node_modules/@PROGRAM@" "$@"
