#!/bin/sh
# Publishes the URLs of standard input through the management API. Needs curl and jq. It takes a
# request per URL, so it is for a few of them. MANAGEMENT_URL names user and password.
set -eu
api=${MANAGEMENT_URL:-http://guest:guest@127.0.0.1:15672}/api
vhost=${VHOST:-%2f} exchange=${FETCHLINE_PREFIX:-fetchline} run=${RUN:-curl}
while read -r url; do
  id=$(cat /proc/sys/kernel/random/uuid)
  jq -n --arg url "$url" --arg run "$run" --arg id "$id" '{routing_key: "urls", payload: $url,
    payload_encoding: "string",
    properties: {delivery_mode: 2, message_id: $id, headers: {"x-run": $run}}}' |
    curl -sSf --data @- "$api/exchanges/$vhost/$exchange/publish" | grep -q '"routed":true'
done
