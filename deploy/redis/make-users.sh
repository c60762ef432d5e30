#!/bin/sh
# Writes users.acl, replication.conf and sentinel-auth.conf into a folder (default /etc/redis) from passwords in the
# environment:
#
#   CACHE_PASSWORD        your services; may do what Corral needs, in their namespaces
#   OPERATOR_PASSWORD     people: corral doctor, stats, inspect, invalidate
#   METRICS_PASSWORD      a metrics exporter
#   REPLICATION_PASSWORD  replicas and Sentinels
#   ADMIN_PASSWORD        whoever sets up a Cluster (redis-cli --cluster create) or mends one; may do everything
#   CACHE_NAMESPACES      namespaces that the services may use, with spaces between; default 'shop'
#
# users.acl holds digests only. A variable that is not set leaves its user out.
set -eu
folder=${1:-/etc/redis}
umask 077

digest() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

# As Redis reads what stands in quotes.
quoted() { printf %s "$1" | sed 's/[\\"]/\\&/g'; }

# A namespace is no pattern of files.
set -f
namespaces=''
for name in ${CACHE_NAMESPACES:-shop}; do namespaces="$namespaces ~$name:* &$name:*"; done

{
  # Nobody is let in without a name and a password.
  echo 'user default off'
  if [ -n "${CACHE_PASSWORD:-}" ]; then
    # Channels: where Redis tells of changed keys. What administers, or stops or empties a server, is left out.
    echo "user cache on #$(digest "$CACHE_PASSWORD") resetchannels$namespaces &__redis__:invalidate +@all -@admin -@dangerous -function +info"
  fi
  if [ -n "${OPERATOR_PASSWORD:-}" ]; then
    echo "user operator on #$(digest "$OPERATOR_PASSWORD") ~* &* -@all +@read +@connection +info +time +unlink +config|get +slowlog|get +latency +memory +acl|whoami +acl|dryrun +cluster|info +cluster|nodes +cluster|slots +cluster|shards +cluster|keyslot +set +setrange +persist +incr +eval +evalsha +subscribe +publish -keys"
  fi
  if [ -n "${METRICS_PASSWORD:-}" ]; then
    echo "user metrics on #$(digest "$METRICS_PASSWORD") resetchannels -@all +ping +info +config|get +slowlog|len +slowlog|get +latency|latest +latency|histogram +client|list +client|setname +cluster|info"
  fi
  if [ -n "${REPLICATION_PASSWORD:-}" ]; then
    hash=$(digest "$REPLICATION_PASSWORD")
    echo "user replication on #$hash resetchannels -@all +psync +replconf +ping"
    echo "user sentinel on #$hash resetchannels &* -@all +multi +exec +slaveof +replicaof +ping +info +role +publish +subscribe +client|setname +client|kill +script|kill +config|rewrite"
  fi
  if [ -n "${ADMIN_PASSWORD:-}" ]; then
    echo "user admin on #$(digest "$ADMIN_PASSWORD") ~* &* +@all"
  fi
} > "$folder/users.acl"

if [ -n "${REPLICATION_PASSWORD:-}" ]; then
  # Here Redis needs the password itself: these files are for its eyes only.
  printf 'masteruser replication\nmasterauth "%s"\n' "$(quoted "$REPLICATION_PASSWORD")" > "$folder/replication.conf"
  printf 'sentinel auth-pass mymaster "%s"\n' "$(quoted "$REPLICATION_PASSWORD")" > "$folder/sentinel-auth.conf"
fi
