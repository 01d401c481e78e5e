"""Measures fetchline beside what people would use instead, all in one run on this machine, and writes docs/benchmarks.md.

A trial fills a queue (or writes a list), starts one side, and looks at how many requests the origin has seen and at the
processor time that the operating system has charged to the side's processes. Rates and processor time are those between the
tenth and the ninetieth hundredth of the requests, so that starting and ending do not count. Sides take turns, round by round;
what is told are medians, and ratios of medians.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import time

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
    broker_api,
    clear,
    fetchline,
    get,
    nginx_visits,
    queue_ready,
    say,
    shop_visits,
    start_nginx,
)
from report import goal, table
from sides import RIVALS, ROUNDS, Processes, Side, asyncio_side, bare, ours, scrapy_side, trial, turns, urls

parser = argparse.ArgumentParser()
parser.add_argument("--full", action="store_true", help="the full sizes; takes an hour")
parser.add_argument("--only", help="a pattern: only these sections, and nothing is written into docs")
parser.add_argument(
    "--against", type=pathlib.Path, help="another build of fetchline: only these two, and nothing is written into docs"
)
args = parser.parse_args()


def side_rows(results):
    return [(name, f"{r['rate']:,.0f}", f"{r['cpu']:,.0f}", f"{r['peak']:,.0f}") for name, r in results.items()]


SIDES = ("", "URLs/s", "CPU µs/URL", "peak MiB")


def small_json():
    size = 3 if args.full else 1
    entries = [
        ("fetchline", ours(), urls(NGINX_PORT, "json", 160_000 * size)),
        ("lapin + reqwest + sqlx, bare", bare(), urls(NGINX_PORT, "json", 160_000 * size)),
        ("asyncio", asyncio_side(), urls(NGINX_PORT, "json", 20_000 * size)),
        ("asyncio with uvloop", asyncio_side("--uvloop"), urls(NGINX_PORT, "json", 24_000 * size)),
        ("Scrapy", scrapy_side(), urls(NGINX_PORT, "json", 6_000 * size)),
        ("fetchline, bodies not stored", ours(100, "--store-body", "none"), urls(NGINX_PORT, "json", 160_000 * size)),
        ("fetchline, a product and its item", ours(), urls(NGINX_PORT, "product", 100_000 * size)),
    ]
    r = turns(entries, nginx_visits)
    table("380 bytes of JSON at once, stored", "nginx answers at once; concurrency 100, batches of 500.", SIDES, side_rows(r))
    ours_, theirs, barest = r["fetchline"], r["asyncio"], r["lapin + reqwest + sqlx, bare"]
    speed, saved, over = ours_["rate"] / theirs["rate"], theirs["cpu"] / ours_["cpu"], ours_["cpu"] / barest["cpu"]
    goal("small JSON, stored", "6 times the URLs/s of asyncio (aim: 8)", f"{speed:.1f}", speed >= 6)
    goal("small JSON, stored", "a sixth of asyncio's CPU per URL", f"1/{saved:.1f}", saved >= 6)
    goal("small JSON, stored", "at most 1.35 times the bare loop's CPU per URL (aim: 1.2)", f"{over:.2f}", over <= 1.35)


def builds():
    """What a change brought, or cost."""
    size = 3 if args.full else 1
    for path, count in (("json", 100_000 * size), ("html", 20_000 * size)):
        pages = urls(NGINX_PORT, path, count)
        r = turns([("before", ours(binary=args.against), pages), ("now", ours(), pages)], nginx_visits, rounds=5)
        table(f"Two builds, {path}", "", SIDES, side_rows(r))
        say(
            f"  now / before: {r['now']['cpu'] / r['before']['cpu']:.3f} of the CPU, {r['now']['rate'] / r['before']['rate']:.3f} of the rate"
        )


def html():
    size = 3 if args.full else 1
    entries = [
        ("fetchline, with extraction", ours(), urls(NGINX_PORT, "html", 40_000 * size)),
        ("fetchline, without", ours(), urls(NGINX_PORT, "text", 50_000 * size)),
        ("asyncio", asyncio_side(), urls(NGINX_PORT, "text", 12_000 * size)),
    ]
    r = turns(entries, nginx_visits)
    text = "A product's page of 40 kB from nginx; without extraction it is served as plain text."
    table("40 kB of HTML at once, stored", text, SIDES, side_rows(r))
    saved = r["asyncio"]["cpu"] / r["fetchline, without"]["cpu"]
    over = r["fetchline, with extraction"]["cpu"] / r["fetchline, without"]["cpu"]
    goal("40 kB HTML, stored", "an eighth of asyncio's CPU per URL", f"1/{saved:.1f}", saved >= 8)
    goal("40 kB HTML, with extraction", "at most 2 times the CPU without", f"{over:.2f}", over <= 2)


def slow_pages():
    count = 8_000 * (3 if args.full else 1)
    r = turns([("fetchline", ours(), urls(SHOP_PORT, "slow/200", count))], shop_visits)
    table("Pages that take 200 ms", "The sample shop; concurrency 100, so 500 URLs/s at the most.", SIDES, side_rows(r))
    share = r["fetchline"]["rate"] / 500
    goal("200 ms pages, concurrency 100", "98 % of concurrency / latency", f"{share:.1%}", share >= 0.98)


def very_slow_pages():
    rows = []
    for concurrency, count in ((2_000, 4_000), (10_000, 20_000)):
        side = ours(concurrency, "--prefetch", str(min(2 * concurrency, 20_000)))
        result = trial(side, urls(SHOP_PORT, "slow/10000", count), shop_visits, whole=True)
        share = result["rate"] / (concurrency / 10)
        rows.append(
            (f"{concurrency:,} at once, {count:,} URLs", f"{result['rate']:,.0f}", f"{share:.1%}", f"{result['peak']:,.0f}")
        )
        say(f"  {rows[-1]}")
    table(
        "Pages that take 10 s",
        "The sample shop; from the first request to the last row.",
        ("", "URLs/s", "of concurrency / latency", "peak MiB"),
        rows,
    )
    goal("10 s pages, concurrency 10,000", "90 % of concurrency / latency", f"{share:.1%}", share >= 0.9)
    goal("10 s pages, concurrency 10,000", "peak memory under 400 MiB", f"{result['peak']:.0f} MiB", result["peak"] < 400)


def scaling():
    seconds = 10 * (3 if args.full else 1)
    entries = [
        (workers, ours(), urls(SHOP_PORT, "slow/200", 500 * workers * seconds), workers) for workers in (1, 2, 4, 8)
    ]
    rows, r = [], turns(entries, shop_visits)
    for workers, result in r.items():
        share, busy = result["rate"] / (r[1]["rate"] * workers), result["busy"]
        rows.append((str(workers), f"{result['rate']:,.0f}", f"{share:.1%}", f"{result['cpu']:,.0f}", f"{busy:.0%}"))
        if workers > 1:
            on = f"{workers} workers on one queue, 200 ms pages"
            figure = f"{share:.1%}, with the processors {busy:.0%} busy"
            goal(on, "95 % of linear, until the processors are full", figure, share >= 0.95 or busy >= 0.95)
    table(
        "Workers on one queue",
        "200 ms pages, concurrency 100 each. The processors do the work of all: workers, broker, database and shop.",
        ("workers", "URLs/s", "of linear", "CPU µs/URL", "processors busy"),
        rows,
    )


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
    r = {name: statistics.median(rates) for name, rates in results.items()}
    table(
        "Publishing",
        f"{count:,} URLs into a quorum queue, persistent. fetchline's figure is that of the whole process.",
        ("", "URLs/s"),
        [(name, f"{rate:,.0f}") for name, rate in r.items()],
    )
    speed = r["fetchline produce"] / r["aio-pika, with confirms"]
    share = r["fetchline produce"] / r["lapin, without confirms"]
    goal("publishing with confirms", "5 times aio-pika with confirms", f"{speed:.1f}", speed >= 5)
    goal("publishing with confirms", "60 % of publishing without", f"{share:.0%}", share >= 0.6)


def memory():
    count = 1_000_000 if args.full else 200_000
    result = trial(ours(), urls(NGINX_PORT, "json", count), nginx_visits)
    added = result["peak"] - result["half_peak"]
    table(
        "Memory over many URLs",
        f"{count:,} URLs of small JSON through one worker.",
        ("", "MiB"),
        [("peak after the first half", f"{result['half_peak']:.1f}"), ("peak at the end", f"{result['peak']:.1f}")],
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
    while queue_ready() > 0:
        time.sleep(0.05)
    rows.append(("RabbitMQ, consuming and acking alone", count / (time.monotonic() - began)))
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
        "Alone, on the same machine.",
        ("", "per second"),
        [(name, f"{rate:,.0f}") for name, rate in rows],
    )


SECTIONS = [limits, small_json, html, slow_pages, very_slow_pages, scaling, publishing, memory]


def main():
    STATE.mkdir(parents=True, exist_ok=True)
    server = pymysql.connect(host=DATABASE.host, port=DATABASE.port, user=DATABASE.user)
    with server, server.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS fetchline_bench")
    fetchline("migrate")
    shop = subprocess.Popen([BUILT / "shop", "--listen", f"127.0.0.1:{SHOP_PORT}"], stdout=subprocess.DEVNULL)
    for _ in range(100):
        try:
            page = get(f"http://127.0.0.1:{SHOP_PORT}/big/1")
            break
        except OSError:
            time.sleep(0.1)
    nginx = start_nginx(page)
    # The first worker makes the queues.
    first = Processes(ours())
    while True:
        try:
            broker_api("GET", f"queues/%2f/{QUEUE}")
            break
        except OSError:
            time.sleep(0.2)
    time.sleep(2)
    first.end()
    try:
        for section in [builds] if args.against else SECTIONS:
            if not args.only or args.against or re.search(args.only, section.__name__):
                say(section.__name__)
                section()
    finally:
        clear()
        for process in (nginx, shop):
            process.terminate()
            process.wait()
    for on, wanted, figure, reached in report.goals:
        print(f"{'reached' if reached else 'MISSED '}  {on}: {wanted}: {figure}")
    if not args.only and not args.against:
        report.write("make bench-full" if args.full else "make bench", __doc__.split("\n\n", 1)[1].strip())
    else:
        for title, _, header, rows in report.tables:
            print(f"\n{title}\n{report.markdown(rows, header)}")


main()
