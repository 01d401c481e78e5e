"""The same pipeline in idiomatic asyncio: aio-pika, aiohttp and aiomysql.

Consumes URLs with a bounded prefetch, fetches them with bounded concurrency over one session,
inserts the results in batches, and acks a message after the batch with its row is committed.
Runs until it gets a signal.
"""

import argparse
import asyncio
import os
import socket
import ssl

import aio_pika
import aiohttp
import aiomysql
from yarl import URL

parser = argparse.ArgumentParser()
parser.add_argument("--queue", required=True)
parser.add_argument("--concurrency", type=int, default=100)
parser.add_argument("--prefetch", type=int, default=1100)
parser.add_argument("--batch", type=int, default=500)
parser.add_argument("--uvloop", action="store_true")
parser.add_argument("--ca", help="an authority that sites may have; all names are local ones then")
args = parser.parse_args()

TABLE = (
    "CREATE TABLE IF NOT EXISTS bare (id BIGINT AUTO_INCREMENT PRIMARY KEY, url TEXT, "
    "status SMALLINT UNSIGNED, body LONGTEXT, "
    "fetched_at DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)) CHARACTER SET utf8mb4"
)
INSERT = "INSERT INTO bare (url, status, body) VALUES (%s, %s, %s)"


async def fetch_all(session, messages, results):
    while True:
        message = await messages.get()
        url = message.body.decode()
        try:
            async with session.get(url) as response:
                results.put_nowait((message, url, response.status, await response.text()))
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            results.put_nowait((message, url, None, str(error)))


class Local(aiohttp.abc.AbstractResolver):
    """Finds every host on this machine."""

    async def resolve(self, host, port=0, family=socket.AF_INET):
        found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET}
        return [found | {"proto": 0, "flags": socket.AI_NUMERICHOST}]

    async def close(self):
        pass


async def collect(results):
    loop = asyncio.get_running_loop()
    batch = [await results.get()]
    deadline = loop.time() + 0.25
    while len(batch) < args.batch:
        try:
            # A result that is already there needs no timer.
            batch.append(results.get_nowait())
        except asyncio.QueueEmpty:
            try:
                batch.append(await asyncio.wait_for(results.get(), deadline - loop.time()))
            except asyncio.TimeoutError:
                break
    return batch


async def write_all(pool, results, collecting):
    while True:
        async with collecting:
            batch = await collect(results)
        async with pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.executemany(INSERT, [row[1:] for row in batch])
            await connection.commit()
        for message, *_ in batch:
            await message.ack()


async def main():
    database = URL(os.environ["DATABASE_URL"])
    pool = await aiomysql.create_pool(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password or "",
        db=database.path.strip("/"),
        minsize=2,
        maxsize=4,
        charset="utf8mb4",
    )
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute(TABLE)
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=args.prefetch)
    queue = await channel.get_queue(args.queue, ensure=False)
    messages, results = asyncio.Queue(), asyncio.Queue()
    timeout = aiohttp.ClientTimeout(total=30)
    limits = {"limit": args.concurrency, "limit_per_host": args.concurrency}
    if args.ca:
        limits |= {"resolver": Local(), "ssl": ssl.create_default_context(cafile=args.ca)}
    connector = aiohttp.TCPConnector(**limits)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await queue.consume(messages.put)
        fetching = [fetch_all(session, messages, results) for _ in range(args.concurrency)]
        # Two writers: one batch is collected while the other is written.
        collecting = asyncio.Lock()
        await asyncio.gather(*fetching, *(write_all(pool, results, collecting) for _ in range(2)))


if args.uvloop:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
