"""Publishes the lines of standard input with aio-pika and prints the rate in URLs per second.

Messages are persistent and confirmed, a thousand at a time.
"""

import argparse
import asyncio
import itertools
import os
import sys
import time

import aio_pika

parser = argparse.ArgumentParser()
parser.add_argument("--queue", required=True)
args = parser.parse_args()


async def main():
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    channel = await connection.channel(publisher_confirms=True)
    began, count = time.monotonic(), 0
    lines = (line.strip().encode() for line in sys.stdin)
    while chunk := list(itertools.islice(lines, 1000)):
        messages = [
            aio_pika.Message(line, delivery_mode=aio_pika.DeliveryMode.PERSISTENT) for line in chunk
        ]
        publish = channel.default_exchange.publish
        await asyncio.gather(*(publish(message, args.queue) for message in messages))
        count += len(chunk)
    print(count / (time.monotonic() - began))
    await connection.close()


asyncio.run(main())
