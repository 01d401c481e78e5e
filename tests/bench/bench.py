"""Measures fetchline beside what people would use instead, all in one run on this machine, and writes docs/benchmarks.md.

A trial fills a queue (or writes a list), starts one side, and looks at how many requests the origin has seen and at the
processor time that the operating system has charged to the side's processes. Rates and processor time are those between the
tenth and the ninetieth hundredth of the requests, so that starting and ending do not count. Sides take turns, round by round.
Figures are medians over the rounds; so are ratios, which are taken within a round.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

import pymysql

import report
from ground import (
    BUILT,
    DATABASE,
    ENVIRONMENT,
    NGINX_PORT,
    QUEUE,
    SHOP_PORT,
    STATE,
    answer_of,
    clear,
    fetchline,
    make_queues,
    nginx_visits,
    queue_ready,
    say,
    shop_visits,
    start_nginx,
)
from report import goal, table
from sides import RIVALS, ROUNDS, Processes, Side, Turns, asyncio_side, bare, ours, ratio, scrapy_side, time_of_others, trial, urls

parser = argparse.ArgumentParser()
parser.add_argument("--full", action="store_true", help="the full sizes; takes over an hour")
parser.add_argument("--only", help="a pattern: only these sections, and nothing is written into docs")
parser.add_argument(
    "--against", type=pathlib.Path, help="another build of fetchline: only these two, and nothing is written into docs"
)
args = parser.parse_args()


def side_rows(turns):
    return [(name, f"{r['rate']:,.0f}", f"{r['cpu']:,.0f}", f"{r['peak']:,.0f}") for name, r in turns.medians().items()]


SIDES = ("", "URLs/s", "CPU µs/URL", "peak MiB")


BARE = "lapin + reqwest + sqlx, bare"


def small_json():
    size = 3 if args.full else 1
    entries = [
        ("fetchline", ours(), urls(NGINX_PORT, "json", 150_000 * size)),
        (BARE, bare(), urls(NGINX_PORT, "json", 150_000 * size)),
        ("asyncio", asyncio_side(), urls(NGINX_PORT, "json", 18_000 * size)),
        ("asyncio with uvloop", asyncio_side(100, "--uvloop"), urls(NGINX_PORT, "json", 20_000 * size)),
        ("Scrapy", scrapy_side(), urls(NGINX_PORT, "json", 4_000 * size)),
        ("fetchline, bodies not stored", ours(100, "--store-body", "none"), urls(NGINX_PORT, "json", 150_000 * size)),
        ("fetchline, a product and its item", ours(), urls(NGINX_PORT, "product", 150_000 * size)),
    ]
    r = Turns(entries, nginx_visits)
    text = (
        "nginx answers at once; concurrency 100, batches of 500. The JSON tells no product, but for the last row. The bare loop "
        "inserts four columns under a key that counts up, fetchline its 21 under a hash and an index; fetchline alone brings an "
        "allocator (jemalloc)."
    )
    table("380 bytes of JSON at once, stored", text, SIDES, side_rows(r))
    speed, saved = r.ratio("rate", "fetchline", "asyncio"), r.ratio("cpu", "asyncio", "fetchline")
    over = r.ratio("cpu", "fetchline", BARE)
    goal("small JSON, stored", "6 times the URLs/s of asyncio (aim: 8)", f"{speed:.1f}", speed >= 6)
    goal("small JSON, stored", "a sixth of asyncio's CPU per URL", f"1/{saved:.1f}", saved >= 6)
    goal("small JSON, stored", "at most 1.35 times the bare loop's CPU per URL (aim: 1.2)", f"{over:.2f}", over <= 1.35)


def builds():
    """What a change brought, or cost."""
    size = 3 if args.full else 1
    for path, count in (("json", 100_000 * size), ("html", 20_000 * size)):
        pages = urls(NGINX_PORT, path, count)
        r = Turns([("before", ours(binary=args.against), pages), ("now", ours(), pages)], nginx_visits, rounds=5)
        table(f"Two builds, {path}", "", SIDES, side_rows(r))
        cpu, rate = (r.ratio(figure, "now", "before") for figure in ("cpu", "rate"))
        say(f"  now / before: {cpu:.3f} of the CPU, {rate:.3f} of the rate")


def html():
    size = 3 if args.full else 1
    unread = ours(100, "--store-body", "all")
    entries = [
        ("fetchline, with extraction", ours(), urls(NGINX_PORT, "html", 30_000 * size)),
        ("fetchline, without", unread, urls(NGINX_PORT, "bytes", 36_000 * size)),
        # Batches of 4 MB, as fetchline's are: 500 pages do not fit into a packet of MariaDB's default.
        (BARE, bare(100, "--batch", "100"), urls(NGINX_PORT, "html", 30_000 * size)),
        ("asyncio", asyncio_side(), urls(NGINX_PORT, "html", 7_000 * size)),
    ]
    if args.full:
        entries += [
            ("asyncio with uvloop", asyncio_side(100, "--uvloop"), urls(NGINX_PORT, "html", 7_000)),
            ("Scrapy", scrapy_side(), urls(NGINX_PORT, "html", 3_000)),
        ]
    r = Turns(entries, nginx_visits)
    text = (
        "A product's page of 40 kB from nginx. fetchline takes the product out of every page that is text: without extraction means "
        "that the page is served as bytes, and stored as such."
    )
    table("40 kB of HTML at once, stored", text, SIDES, side_rows(r))
    saved = r.ratio("cpu", "asyncio", "fetchline, with extraction")
    over = r.ratio("cpu", "fetchline, with extraction", "fetchline, without")
    goal("40 kB HTML, stored, with extraction", "an eighth of asyncio's CPU per URL", f"1/{saved:.1f}", saved >= 8)
    goal("40 kB HTML, with extraction", "at most 2 times the CPU without", f"{over:.2f}", over <= 2)


def slow_pages():
    size = 3 if args.full else 1
    entries = [("fetchline", ours(), urls(SHOP_PORT, "slow/200", 8_000 * size))]
    if args.full:
        entries += [
            (BARE, bare(), urls(SHOP_PORT, "slow/200", 8_000)),
            ("asyncio", asyncio_side(), urls(SHOP_PORT, "slow/200", 8_000)),
            ("Scrapy", scrapy_side(), urls(SHOP_PORT, "slow/200", 4_000)),
        ]
    r = Turns(entries, shop_visits)
    table("Pages that take 200 ms", "The sample shop; concurrency 100, so 500 URLs/s at the most.", SIDES, side_rows(r))
    share = r.medians()["fetchline"]["rate"] / 500
    goal("200 ms pages, concurrency 100", "98 % of concurrency / latency", f"{share:.1%}", share >= 0.98)


def very_slow_pages():
    rows = []

    def measure(name, side, concurrency, count, rounds):
        r = Turns([(name, side, urls(SHOP_PORT, "slow/10000", count))], shop_visits, rounds, whole=True)
        result = r.medians()[name]
        share = result["rate"] / (concurrency / 10)
        figures = f"{result['rate']:,.0f}", f"{share:.1%}", f"{result['cpu']:,.0f}", f"{result['peak']:,.0f}"
        rows.append((f"{name}, {concurrency:,} at once, {count:,} URLs", *figures))
        return share, result["peak"]

    for concurrency, count, rounds in ((2_000, 4_000, 1), (10_000, 20_000, ROUNDS)):
        prefetch = "--prefetch", str(min(2 * concurrency, 20_000))
        if args.full:
            measure(BARE, bare(concurrency, *prefetch), concurrency, count, 1)
            measure("asyncio", asyncio_side(concurrency, *prefetch), concurrency, count, 1)
        share, peak = measure("fetchline", ours(concurrency, *prefetch), concurrency, count, rounds)
    table(
        "Pages that take 10 s",
        "The sample shop; from the first request to the last row, and the processor time from the start of the process.",
        ("", "URLs/s", "of concurrency / latency", "CPU µs/URL", "peak MiB"),
        rows,
    )
    goal("10 s pages, concurrency 10,000", "90 % of concurrency / latency", f"{share:.1%}", share >= 0.9)
    goal("10 s pages, concurrency 10,000", "peak memory under 400 MiB", f"{peak:.0f} MiB", peak < 400)


def scaling():
    seconds = 30 if args.full else 15
    entries = [
        (workers, ours(), urls(SHOP_PORT, "slow/200", 500 * workers * seconds), workers) for workers in (1, 2, 4, 8)
    ]
    rows, r = [], Turns(entries, shop_visits)
    for workers, result in r.medians().items():
        share, busy = r.ratio("rate", workers, 1) / workers, result["busy"]
        figures = f"{result['rate']:,.0f}", f"{share:.1%}", f"{result['cpu']:,.0f}", f"{result['peak']:,.0f}", f"{busy:.0%}"
        rows.append((str(workers), *figures))
        if workers > 1:
            on = f"{workers} workers on one queue, 200 ms pages"
            reached = share >= 0.95 or (busy >= 0.95 and "the processors are full")
            goal(on, "95 % of linear, until the processors are full", f"{share:.1%}, with the processors {busy:.0%} busy", reached)
    table(
        "Workers on one queue",
        "200 ms pages, concurrency 100 each. The processors do the work of all: workers, broker, database and shop; what their host "
        "takes away counts as busy, too.",
        ("workers", "URLs/s", "of linear", "CPU µs/URL", "peak MiB of one", "processors busy"),
        rows,
    )


def fairness():
    """The workers find all hosts at the shop, which is their proxy: so each has a name of its own, and one process serves all."""
    hosts, each, head = 1_000, 100 if args.full else 10, 100_000 if args.full else 10_000
    side = ours(100, "--proxy", f"http://127.0.0.1:{SHOP_PORT}", per_host=2)
    others = [f"http://other-{host}.example/slow/200/{number}" for number in range(each) for host in range(hosts)]
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
        f"{head:,} pages of one host that take 2 s each, and behind them {len(others):,} pages of {hosts:,} other hosts that take 200 ms "
        "each; concurrency 100, two at once at one host. From the start of the worker to the last row of the other hosts.",
        ("the other hosts", "seconds", "slow pages meanwhile"),
        [(name, f"{statistics.median(times[name]):.1f}", f"{statistics.median(fetched[name]):,.0f}") for name, _ in entries],
    )
    longer = ratio(times["behind the slow host"], times["alone"])
    goal(f"{head:,} pages of a slow host ahead of 1,000 hosts", "the others take at most 1.10 times as long", f"{longer:.2f}", longer <= 1.10)


def publishing():
    count = 1_000_000 if args.full else 100_000
    results = {}
    for _ in range(ROUNDS):
        for name in ("fetchline produce", "aio-pika, with confirms", "lapin, without confirms"):
            clear()
            (STATE / "urls.txt").write_text("\n".join(urls(NGINX_PORT, "json", count // 5 if name.startswith("aio") else count)))
            with open(STATE / "urls.txt") as lines:
                if name == "fetchline produce":
                    began = time.monotonic()
                    fetchline("produce", "--run", "bench", STATE / "urls.txt")
                    rate = count / (time.monotonic() - began)
                else:
                    script = (
                        [sys.executable, RIVALS / "asyncio_publish.py"] if name.startswith("aio") else [BUILT / "bare", "publish"]
                    )
                    done = subprocess.run(
                        [*script, "--queue", QUEUE], stdin=lines, env=ENVIRONMENT, check=True, capture_output=True, text=True
                    )
                    rate = float(done.stdout)
            results.setdefault(name, []).append(rate)
            say(f"  {name}: {rate:,.0f}/s")
    clear()
    table(
        "Publishing",
        f"{count:,} URLs into a quorum queue, persistent. fetchline's figure is that of the whole process.",
        ("", "URLs/s"),
        [(name, f"{statistics.median(rates):,.0f}") for name, rates in results.items()],
    )
    speed = ratio(results["fetchline produce"], results["aio-pika, with confirms"])
    share = ratio(results["fetchline produce"], results["lapin, without confirms"])
    goal("publishing with confirms", "5 times aio-pika with confirms", f"{speed:.1f}", speed >= 5)
    goal("publishing with confirms", "60 % of publishing without", f"{share:.0%}", share >= 0.6)


def memory():
    count = 1_000_000 if args.full else 200_000
    result = trial(ours(), urls(NGINX_PORT, "json", count), nginx_visits)
    added = max(result["peak"] - result["half_peak"], result["rss"] - result["half_rss"])
    table(
        "Memory over many URLs",
        f"{count:,} URLs of small JSON through one worker, once. In MiB.",
        ("", "resident", "peak so far"),
        [
            ("after the first half", f"{result['half_rss']:.1f}", f"{result['half_peak']:.1f}"),
            ("at the end", f"{result['rss']:.1f}", f"{result['peak']:.1f}"),
        ],
    )
    goal(f"memory, {count:,} small URLs", "the second half adds under 10 MiB", f"{added:.1f} MiB", added < 10)


def limits():
    rows = []
    for path, what in (("json", "380 bytes of JSON"), ("html", "40 kB of HTML")):
        done = subprocess.run(
            ["wrk", "-t1", "-c100", "-d5s", f"http://127.0.0.1:{NGINX_PORT}/{path}/1"], capture_output=True, text=True, check=True
        )
        rows.append((f"nginx, asked by wrk for {what}", float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1))))
    count = 200_000
    clear()
    (STATE / "urls.txt").write_text("\n".join(urls(NGINX_PORT, "json", count)))
    fetchline("produce", "--run", "bench", STATE / "urls.txt")
    processes, began = Processes(Side("consume", [BUILT / "bare", "consume", "--queue", QUEUE])), time.monotonic()
    try:
        while processes.alive() and queue_ready() > 0:
            time.sleep(0.05)
        if not processes.alive():
            raise RuntimeError(f"the consumer has ended early: see {STATE}/side.log")
        rows.append(("RabbitMQ, consuming and acking alone", count / (time.monotonic() - began)))
    finally:
        processes.end()
    done = subprocess.run(
        [BUILT / "bare", "insert", "--queue", QUEUE, "--count", "100000"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows.append(("the database, inserting alone, 500 rows of 380 bytes at once", float(done.stdout)))
    table(
        "The limit of each part",
        "Alone, on the same machine, once.",
        ("", "per second"),
        [(name, f"{rate:,.0f}") for name, rate in rows],
    )


SECTIONS = [limits, small_json, html, slow_pages, very_slow_pages, scaling, fairness, publishing, memory]


def origins(stack):
    """Starts the shop and nginx, until the stack is left."""

    def until_the_end(process):
        stack.callback(process.wait)
        stack.callback(process.terminate)
        return process

    shop = until_the_end(subprocess.Popen([BUILT / "shop", "--listen", f"127.0.0.1:{SHOP_PORT}"], stdout=subprocess.DEVNULL))
    page = answer_of(shop, f"http://127.0.0.1:{SHOP_PORT}/big/1")
    nginx = until_the_end(start_nginx(page))
    answer_of(nginx, f"http://127.0.0.1:{NGINX_PORT}/json/1")


def main():
    STATE.mkdir(parents=True, exist_ok=True)
    server = pymysql.connect(host=DATABASE.host, port=DATABASE.port, user=DATABASE.user, password=DATABASE.password or "")
    with server, server.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS fetchline_bench")
    fetchline("migrate")
    with ExitStack() as stack:
        origins(stack)
        make_queues()
        stack.callback(clear)
        for section in [builds] if args.against else SECTIONS:
            if not args.only or args.against or re.search(args.only, section.__name__):
                say(section.__name__)
                section()
    for on, wanted, figure, reached in report.goals:
        print(f"{reached:6} {on}: {wanted}: {figure}")
    if not args.only and not args.against:
        report.write("make bench-full" if args.full else "make bench", __doc__.split("\n\n", 1)[1].strip())
    else:
        for title, _, header, rows in report.tables:
            print(f"\n{title}\n{report.markdown(rows, header)}")


main()
