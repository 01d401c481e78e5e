# Publishes the URLs of standard input. Needs the package aio-pika (Debian: python3-aio-pika).
import asyncio
import os
import sys
from uuid import uuid4

from aio_pika import DeliveryMode, Message, connect


async def main():
    broker = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
    async with await connect(broker) as connection:
        channel = await connection.channel(on_return_raises=True)  # with confirms
        exchange = await channel.get_exchange(os.environ.get("FETCHLINE_PREFIX", "fetchline"))
        headers = {"x-run": os.environ.get("RUN", "aio-pika")}
        for line in sys.stdin:
            body = line.strip().encode()
            task = Message(body, message_id=uuid4().hex, delivery_mode=DeliveryMode.PERSISTENT,
                           headers=headers)
            await exchange.publish(task, "urls", mandatory=True)


asyncio.run(main())
