#!/bin/sh
# Runs on a spot machine: drains its deployment in Sluice as soon as Azure announces the eviction.
#
#   SLUICE_URL       where ingest is
#   SLUICE_KEY_FILE  a file with an operator's key, readable by this user alone
#   DEPLOYMENT       the deployment's name in config/sluice.yaml
#   EVENTS_URL       for tests; the machine's own metadata service otherwise
set -eu
events=${EVENTS_URL:-'http://169.254.169.254/metadata/scheduledevents?api-version=2020-07-01'}

while :; do
  if curl -sf -m 2 -H 'Metadata: true' "$events" | grep -q '"EventType" *: *"Preempt"'; then
    # The key goes through a file, so that it is in no list of processes.
    if printf 'header = "authorization: Bearer %s"\n' "$(cat "$SLUICE_KEY_FILE")" |
      curl -sf -m 5 -K - -X POST -H 'content-type: application/json' \
        -d '{"reason": "preempt", "until_seconds": 330}' "$SLUICE_URL/admin/deployments/$DEPLOYMENT/drain"; then
      exit 0
    fi
  fi
  sleep 1
done
