# Publishes the URLs of standard input. Needs the package pika (Debian: python3-pika).
import os
import sys
from uuid import uuid4

import pika

broker = pika.URLParameters(os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"))
with pika.BlockingConnection(broker) as connection:
    channel = connection.channel()
    channel.confirm_delivery()  # basic_publish then raises an error if nothing was stored
    for line in sys.stdin:
        headers = {"x-run": os.environ.get("RUN", "pika")}
        task = pika.BasicProperties(delivery_mode=2, message_id=uuid4().hex, headers=headers)
        exchange = os.environ.get("FETCHLINE_PREFIX", "fetchline")
        channel.basic_publish(exchange, "urls", line.strip(), task, mandatory=True)
