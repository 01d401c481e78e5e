#!/usr/bin/env bash
# Prepares the data as root and runs a command of RabbitMQ as the server's user.
set -euo pipefail
chown rabbitmq:rabbitmq /var/lib/rabbitmq
export HOME=/var/lib/rabbitmq
command=/usr/lib/rabbitmq/bin/$1
shift
exec setpriv --reuid rabbitmq --regid rabbitmq --init-groups "$command" "$@"
