#!/bin/sh
# Makes what rollout.sh brings to each machine of an inventory: keys and certificates of the NATS servers, and credentials
# of its services. What is there stays. Usage: credentials.sh INVENTORY KEYS CONFIG, with mesobus on the PATH; KEYS is for
# `mesobus auth` alone and goes nowhere.
set -eu
umask 077
[ $# = 3 ] || { echo 'Usage: credentials.sh INVENTORY KEYS CONFIG' >&2; exit 2; }
inventory=$1 keys=$2 config=$3

machines() { sed 's/#.*//; /^[[:space:]]*$/d' "$inventory"; }

if [ ! -e "$keys/book.json" ]; then
  hosts=$(machines | awk '/[[:space:]]nats([[:space:]]|$)/ { print "--host", $1 }')
  # shellcheck disable=SC2086 # words
  mesobus auth init --dir "$keys" --server-dir /etc/mesobus/nats $hosts
fi
mkdir -p "$config/all" "$config/nats/nats"
cp "$keys/nats/tls-ca.pem" "$config/all/ca.pem"
[ ! -e "$keys/acls.json" ] || cp "$keys/acls.json" "$config/all/" # of `mesobus auth add --role`
cp "$keys"/nats/*.pem "$keys"/nats/*.conf "$config/nats/nats/"

give() { # kind machine
  mkdir -p "$config/$2/creds"
  [ -e "$keys/creds/$1-$2.creds" ] || mesobus auth add "$1" "$2" --dir "$keys"
  cp "$keys/creds/$1-$2.creds" "$config/$2/creds/$1.creds"
}

machines | while read -r machine roles; do
  case " $roles " in *' control '*) for kind in master registry allocator; do give $kind "$machine"; done ;; esac
  case " $roles " in *' agent '*) give agent "$machine" ;; esac
done
