"""The sections of the report. Each one measures its sides and adds a table and goals."""

import re
import statistics
import subprocess
import sys
import time

from ground import (
    BUILT,
    ENVIRONMENT,
    NGINX_PORT,
    QUEUE,
    SHOP_PORT,
    STATE,
    clear,
    nginx_visits,
    queue_ready,
    say,
    shop_visits,
)
from report import goal, table
from sides import (
    LIST,
    RIVALS,
    ROUNDS,
    Processes,
    Rounds,
    Side,
    asyncio_side,
    bare,
    node_side,
    ours,
    publish_list,
    ratio,
    scrapy_side,
    time_of_others,
    trial,
    urls,
    write_list,
)
from tls import tls

SIDES = ("", "URLs/s", "CPU µs/URL", "peak MiB")
BARE = "lapin + reqwest + sqlx, bare"


def side_rows(rounds):
    return [
        (name, f"{r['rate']:,.0f}", f"{r['cpu']:,.0f}", f"{r['peak']:,.0f}")
        for name, r in rounds.medians().items()
    ]


def rate_of(command, **options):
    """Runs a command that prints its rate."""
    done = subprocess.run(
        command, env=ENVIRONMENT, check=True, capture_output=True, text=True, **options
    )
    return float(done.stdout)


def small_json(full):
    size = 3 if full else 1
    json = urls(NGINX_PORT, "json", 150_000 * size)
    uvloop, none = asyncio_side(100, "--uvloop"), ours(100, "--store-body", "none")
    products = urls(NGINX_PORT, "product", 150_000 * size)
    r = Rounds(
        [
            ("fetchline", ours(), json),
            (BARE, bare(), json),
            ("asyncio", asyncio_side(), json[: 18_000 * size]),
            ("asyncio with uvloop", uvloop, json[: 20_000 * size]),
            ("Node", node_side(), json[: 60_000 * size]),
            ("Scrapy", scrapy_side(), json[: 4_000 * size]),
            ("fetchline, bodies not stored", none, json),
            ("fetchline, a product and its item", ours(), products),
        ],
        nginx_visits,
    )
    text = (
        "nginx answers immediately; concurrency 100, batches of 500. The JSON contains no product, "
        "except in the last row. The bare loop inserts four columns under an ascending key; "
        "fetchline inserts its 23 under a key that begins with a time, and into two indexes. Only "
        "fetchline brings its own allocator (jemalloc). Node uses amqplib, undici and mysql2."
    )
    table("380 bytes of JSON served immediately, stored", text, SIDES, side_rows(r))
    speed = r.ratio("rate", "fetchline", "asyncio")
    saved = r.ratio("cpu", "asyncio", "fetchline")
    over = r.ratio("cpu", "fetchline", BARE)
    on = "small JSON, stored"
    goal(on, "6 times the URLs/s of asyncio (aim: 8)", f"{speed:.1f}", speed >= 6)
    goal(on, "a sixth of asyncio's CPU per URL", f"1/{saved:.1f}", saved >= 6)
    speed, saved = r.ratio("rate", "fetchline", "Node"), r.ratio("cpu", "Node", "fetchline")
    goal(on, "3 times the URLs/s of Node with undici", f"{speed:.1f}", speed >= 3)
    goal(on, "a third of Node's CPU per URL", f"1/{saved:.1f}", saved >= 3)
    wanted = "at most 1.35 times the bare loop's CPU per URL (aim: 1.2)"
    goal(on, wanted, f"{over:.2f}", over <= 1.35)


def builds(full, against):
    """Compares this build with another one."""
    size = 3 if full else 1
    for path, count in (("json", 100_000 * size), ("html", 20_000 * size)):
        pages = urls(NGINX_PORT, path, count)
        entries = [("before", ours(binary=against), pages), ("now", ours(), pages)]
        r = Rounds(entries, nginx_visits, rounds=5)
        table(f"Two builds, {path}", "", SIDES, side_rows(r))
        cpu, rate = (r.ratio(figure, "now", "before") for figure in ("cpu", "rate"))
        say(f"  now / before: {cpu:.3f} of the CPU, {rate:.3f} of the rate")


def html(full):
    size = 3 if full else 1
    pages = urls(NGINX_PORT, "html", 30_000 * size)
    unread = ours(100, "--store-body", "all")
    entries = [
        ("fetchline, with extraction", ours(), pages),
        ("fetchline, without", unread, urls(NGINX_PORT, "bytes", 36_000 * size)),
        # Batches of 4 MB, as fetchline's are: 500 pages exceed MariaDB's default packet.
        (BARE, bare(100, "--batch", "100"), pages),
        ("asyncio", asyncio_side(), pages[: 7_000 * size]),
    ]
    if full:
        entries += [
            ("asyncio with uvloop", asyncio_side(100, "--uvloop"), pages[:7_000]),
            ("Scrapy", scrapy_side(), pages[:3_000]),
        ]
    r = Rounds(entries, nginx_visits)
    text = (
        "A product page of 40 kB from nginx. fetchline extracts the product from every page that "
        "is text. Without extraction, the page is served and stored as bytes."
    )
    table("40 kB of HTML served immediately, stored", text, SIDES, side_rows(r))
    saved = r.ratio("cpu", "asyncio", "fetchline, with extraction")
    over = r.ratio("cpu", "fetchline, with extraction", "fetchline, without")
    on = "40 kB HTML, stored, with extraction"
    goal(on, "an eighth of asyncio's CPU per URL", f"1/{saved:.1f}", saved >= 8)
    on = "40 kB HTML, with extraction"
    goal(on, "at most 2 times the CPU without", f"{over:.2f}", over <= 2)


def slow_pages(full):
    size = 3 if full else 1
    entries = [("fetchline", ours(), urls(SHOP_PORT, "slow/200", 8_000 * size))]
    if full:
        entries += [
            (BARE, bare(), urls(SHOP_PORT, "slow/200", 8_000)),
            ("asyncio", asyncio_side(), urls(SHOP_PORT, "slow/200", 8_000)),
            ("Scrapy", scrapy_side(), urls(SHOP_PORT, "slow/200", 4_000)),
        ]
    r = Rounds(entries, shop_visits)
    text = "The sample shop; concurrency 100, so at most 500 URLs/s."
    table("Pages that take 200 ms", text, SIDES, side_rows(r))
    share = r.medians()["fetchline"]["rate"] / 500
    on = "200 ms pages, concurrency 100"
    goal(on, "98 % of concurrency / latency", f"{share:.1%}", share >= 0.98)


def very_slow_pages(full):
    rows = []

    def measure(name, side, concurrency, count, rounds):
        entries = [(name, side, urls(SHOP_PORT, "slow/10000", count))]
        result = Rounds(entries, shop_visits, rounds, whole=True).medians()[name]
        share = result["rate"] / (concurrency / 10)
        rows.append(
            (
                f"{name}, {concurrency:,} at once, {count:,} URLs",
                f"{result['rate']:,.0f}",
                f"{share:.1%}",
                f"{result['cpu']:,.0f}",
                f"{result['peak']:,.0f}",
            )
        )
        return share, result["peak"]

    for concurrency, count, rounds in ((2_000, 4_000, 1), (10_000, 20_000, ROUNDS)):
        prefetch = "--prefetch", str(min(2 * concurrency, 20_000))
        if full:
            measure(BARE, bare(concurrency, *prefetch), concurrency, count, 1)
            measure("asyncio", asyncio_side(concurrency, *prefetch), concurrency, count, 1)
        side = ours(concurrency, *prefetch)
        share, peak = measure("fetchline", side, concurrency, count, rounds)
    table(
        "Pages that take 10 s",
        "The sample shop. The rate is measured from the first request to the last row, the "
        "processor time from the start of the process.",
        ("", "URLs/s", "of concurrency / latency", "CPU µs/URL", "peak MiB"),
        rows,
    )
    on = "10 s pages, concurrency 10,000"
    goal(on, "90 % of concurrency / latency", f"{share:.1%}", share >= 0.9)
    goal(on, "peak memory under 400 MiB", f"{peak:.0f} MiB", peak < 400)


def scaling(full):
    seconds = 30 if full else 15
    entries = [
        (workers, ours(), urls(SHOP_PORT, "slow/200", 500 * workers * seconds), workers)
        for workers in (1, 2, 4, 8)
    ]
    rows, r = [], Rounds(entries, shop_visits)
    for workers, result in r.medians().items():
        share, busy = r.ratio("rate", workers, 1) / workers, result["busy"]
        rows.append(
            (
                str(workers),
                f"{result['rate']:,.0f}",
                f"{share:.1%}",
                f"{result['cpu']:,.0f}",
                f"{result['peak']:,.0f}",
                f"{busy:.0%}",
            )
        )
        if workers > 1:
            reached = share >= 0.95 or (busy >= 0.95 and "the processors are full")
            goal(
                f"{workers} workers on one queue, 200 ms pages",
                "95 % of linear, until the processors are full",
                f"{share:.1%}, with the processors {busy:.0%} busy",
                reached,
            )
    table(
        "Workers on one queue",
        "200 ms pages, concurrency 100 each. The processors are shared by workers, broker, "
        "database and shop; time that the hypervisor takes counts as busy, too.",
        ("workers", "URLs/s", "of linear", "CPU µs/URL", "peak MiB per worker", "processors busy"),
        rows,
    )


def fairness(full):
    """The shop is the workers' proxy, so one process serves hosts of any name."""
    hosts, each, head = 1_000, 100 if full else 10, 100_000 if full else 10_000
    side = ours(100, "--proxy", f"http://127.0.0.1:{SHOP_PORT}", per_host=2)
    others = [
        f"http://other-{host}.example/slow/200/{number}"
        for number in range(each)
        for host in range(hosts)
    ]
    slow = [f"http://slow.example/slow/2000/{number}" for number in range(head)]
    entries = [("alone", []), ("behind the slow host", slow)]
    times, fetched = {name: [] for name, _ in entries}, {name: [] for name, _ in entries}
    for number in range(ROUNDS):
        for name, before in reversed(entries) if number % 2 else entries:
            seconds, done = time_of_others(side, before, others)
            times[name].append(seconds)
            fetched[name].append(done)
            say(f"  {number + 1}/{ROUNDS} {name}: {seconds:.1f} s, {done} slow pages meanwhile")
    table(
        "A slow host at the head of the queue",
        f"{head:,} pages of one host take 2 s each. Behind them in the queue are "
        f"{len(others):,} pages of {hosts:,} other hosts, which take 200 ms each. Concurrency "
        "100, two fetches at a time per host. The time is that from the start of the worker to "
        "the last row of the other hosts.",
        ("the other hosts", "seconds", "slow pages meanwhile"),
        [
            (
                name,
                f"{statistics.median(times[name]):.1f}",
                f"{statistics.median(fetched[name]):,.0f}",
            )
            for name, _ in entries
        ],
    )
    longer = ratio(times["behind the slow host"], times["alone"])
    on = f"{head:,} pages of a slow host ahead of 1,000 hosts"
    goal(on, "the others take at most 1.10 times as long", f"{longer:.2f}", longer <= 1.10)


def publishing(full):
    count = 1_000_000 if full else 100_000
    rivals = {
        "aio-pika, with confirms": [sys.executable, RIVALS / "asyncio_publish.py"],
        "lapin, without confirms": [BUILT / "bare", "publish"],
    }
    produce, aio_pika, lapin = "fetchline produce", *rivals
    results = {name: [] for name in (produce, aio_pika, lapin)}
    for _ in range(ROUNDS):
        for name in results:
            clear()
            write_list(urls(NGINX_PORT, "json", count // 5 if name == aio_pika else count))
            if name == produce:
                began = time.monotonic()
                publish_list()
                rate = count / (time.monotonic() - began)
            else:
                with open(LIST) as lines:
                    rate = rate_of([*rivals[name], "--queue", QUEUE], stdin=lines)
            results[name].append(rate)
            say(f"  {name}: {rate:,.0f}/s")
    clear()
    table(
        "Publishing",
        f"{count:,} persistent URLs into a quorum queue. fetchline's figure is that of the whole "
        "process.",
        ("", "URLs/s"),
        [(name, f"{statistics.median(rates):,.0f}") for name, rates in results.items()],
    )
    speed = ratio(results[produce], results[aio_pika])
    share = ratio(results[produce], results[lapin])
    on = "publishing with confirms"
    goal(on, "5 times aio-pika with confirms", f"{speed:.1f}", speed >= 5)
    goal(on, "60 % of publishing without", f"{share:.0%}", share >= 0.6)


def memory(full):
    count = 1_000_000 if full else 200_000
    result = trial(ours(), urls(NGINX_PORT, "json", count), nginx_visits)
    added = max(result["peak"] - result["half_peak"], result["rss"] - result["half_rss"])
    table(
        "Memory over many URLs",
        f"{count:,} URLs of small JSON through one worker, measured once, in MiB.",
        ("", "resident", "peak so far"),
        [
            ("after the first half", f"{result['half_rss']:.1f}", f"{result['half_peak']:.1f}"),
            ("at the end", f"{result['rss']:.1f}", f"{result['peak']:.1f}"),
        ],
    )
    on = f"memory, {count:,} small URLs"
    goal(on, "the second half adds under 10 MiB", f"{added:.1f} MiB", added < 10)


def nginx_rate(path):
    done = subprocess.run(
        ["wrk", "-t1", "-c100", "-d5s", f"http://127.0.0.1:{NGINX_PORT}/{path}/1"],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1))


def consuming_rate(count):
    clear()
    write_list(urls(NGINX_PORT, "json", count))
    publish_list()
    side = Side("consume", [BUILT / "bare", "consume", "--queue", QUEUE])
    processes, began = Processes(side), time.monotonic()
    try:
        while processes.alive() and queue_ready() > 0:
            time.sleep(0.05)
        if not processes.alive():
            raise RuntimeError(f"the consumer has ended early: see {STATE}/side.log")
        return count / (time.monotonic() - began)
    finally:
        processes.end()


def limits(_full):
    insert = [BUILT / "bare", "insert", "--queue", QUEUE, "--count", "100000"]
    rows = [
        ("nginx: 380 bytes of JSON, requested by wrk", nginx_rate("json")),
        ("nginx: 40 kB of HTML, requested by wrk", nginx_rate("html")),
        ("RabbitMQ: consuming and acking only", consuming_rate(200_000)),
        ("the database: inserting only, 500 rows of 380 bytes at a time", rate_of(insert)),
    ]
    table(
        "The limit of each part",
        "Each part alone, on the same machine, measured once.",
        ("", "per second"),
        [(name, f"{rate:,.0f}") for name, rate in rows],
    )


SECTIONS = [
    limits,
    small_json,
    html,
    slow_pages,
    very_slow_pages,
    scaling,
    fairness,
    publishing,
    memory,
    tls,
]
