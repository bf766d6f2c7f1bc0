#!/bin/sh
# Makes the keys of the cluster, once, and the credentials of its clients that have none yet. Each kind of client has a
# volume of its own with its credentials, and sees no other; the keys that make credentials are seen here alone.
# With arguments it is `mesobus auth`: docker compose run --rm auth revoke agent agent-3
set -eu
export MESOBUS_AUTH_DIR=/auth
# shellcheck disable=SC2086 # several hosts
[ -e /auth/book.json ] || mesobus auth init --cluster "$MESOBUS_CLUSTER" --server-dir /etc/mesobus/nats \
  --host $NATS_HOSTS
# Each server mounts a folder of its own there.
mkdir -p /auth/nats/jwt

if [ $# -gt 0 ]; then
  mesobus auth "$@"
else
  number=1
  while [ "$number" -le "$AGENTS" ]; do
    CLIENTS="$CLIENTS agent/agent-$number"
    number=$((number + 1))
  done
  known=$(mesobus auth list | while read -r kind name _; do echo "$kind/$name"; done)
  for client in $CLIENTS; do
    # Also who was revoked is known.
    case " $(echo $known) " in *" $client "*) continue ;; esac
    mesobus auth add "${client%%/*}" "${client#*/}"
  done
fi

# Whoever reads them meanwhile finds the old ones or the new ones.
give() {
  cp "$1" "$2.new"
  mv "$2.new" "$2"
}
for folder in /out/*; do
  give /auth/nats/tls-ca.pem "$folder/tls-ca.pem"
  for file in "/auth/creds/$(basename "$folder")"-*.creds; do
    [ -e "$file" ] || continue
    name=$(basename "$file")
    give "$file" "$folder/${name#*-}"
  done
  for file in "$folder"/*.creds; do
    [ -e "/auth/creds/$(basename "$folder")-$(basename "$file")" ] || rm -f "$file"
  done
done
# As whom everything but agents runs.
chown -R mesobus:mesobus /auth/nats /out
