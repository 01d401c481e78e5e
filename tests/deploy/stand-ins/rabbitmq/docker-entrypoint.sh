#!/usr/bin/env bash
# As root it prepares the data, and goes on as the server's user.
set -euo pipefail
chown rabbitmq:rabbitmq /var/lib/rabbitmq
export HOME=/var/lib/rabbitmq
exec setpriv --reuid rabbitmq --regid rabbitmq --init-groups /usr/lib/rabbitmq/bin/"$@"
