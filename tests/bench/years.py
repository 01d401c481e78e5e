"""Fetches the same pages night after night, while the tables grow; writes docs/years.md.

nginx serves static pages with ETag and Last-Modified. Every night some of them change. One worker
runs all the time; each night is one `produce` of the same run. The last nights are then pruned one
by one, and fetched again without `--revalidate`.
"""

import argparse
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import time
from contextlib import ExitStack, contextmanager

import pymysql

import chart
from ground import (
    BUILT,
    ENVIRONMENT,
    NGINX_PORT,
    PROJECT,
    STATE,
    answer_of,
    clear,
    create_database,
    fetchline,
    make_queues,
    say,
    sql,
)

parser = argparse.ArgumentParser()
parser.add_argument("--nights", type=int, default=365)
parser.add_argument("--pages", type=int, default=3_000)
parser.add_argument("--changing", type=float, default=0.04, help="the share that changes a night")
parser.add_argument("--window", type=int, default=30, help="nights that are compared")
parser.add_argument("--rows", type=int, default=10_000_000, help="rows that the store alone writes")
parser.add_argument("--buffer-pool", type=int, default=128, help="of the database, in MiB")
args = parser.parse_args()
FOLDER = STATE / "years"
LOG = FOLDER / "access.log"
URL = f"http://127.0.0.1:{NGINX_PORT}"


def write_page(page, revision):
    price = 5 + (page * 7 + revision * 13) % 900
    text = f"Tea number {page} is grown on a hill and dried in the sun. " * 180
    (FOLDER / "pages" / f"{page}.html").write_text(
        f"<html><head><title>Tea {page}</title><script type='application/ld+json'>"
        f'{{"@context":"https://schema.org","@type":"Product","name":"Tea {page}",'
        f'"offers":{{"@type":"Offer","price":"{price}.90","priceCurrency":"EUR"}}}}'
        f"</script></head><body><h1>Tea {page}</h1><p class='price'>€ {price},90</p>"
        f"<p>{text}</p></body></html>"
    )


def start_origin(stack):
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "pages").mkdir(parents=True)
    for page in range(args.pages):
        write_page(page, 0)
    (FOLDER / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; error_log {FOLDER}/error.log; pid {FOLDER}/pid;
events {{ worker_connections 2000; }}
http {{
  log_format bytes '$status $bytes_sent'; access_log {LOG} bytes; sendfile on; etag on;
  keepalive_requests 100000000; default_type text/html; charset utf-8;
  client_body_temp_path {FOLDER}; proxy_temp_path {FOLDER}; fastcgi_temp_path {FOLDER};
  uwsgi_temp_path {FOLDER}; scgi_temp_path {FOLDER};
  server {{ listen 127.0.0.1:{NGINX_PORT}; root {FOLDER}/pages; }}
}}
""")
    command = ["/usr/sbin/nginx", "-e", f"{FOLDER}/error.log", "-c", f"{FOLDER}/nginx.conf"]
    nginx = subprocess.Popen(command)
    stack.callback(nginx.wait)
    stack.callback(nginx.terminate)
    answer_of(nginx, f"{URL}/1.html")


@contextmanager
def buffer_pool(mebibytes):
    """Gives the database this much memory for pages, and what it had afterwards."""
    before = sql("SELECT @@innodb_buffer_pool_size")
    sql(f"SET GLOBAL innodb_buffer_pool_size = {mebibytes * 2**20}")
    try:
        yield
    finally:
        sql(f"SET GLOBAL innodb_buffer_pool_size = {before}")


@contextmanager
def worker(*flags):
    command = [BUILT / "fetchline", "work", "--listen", "off", "--per-host", "100", *flags]
    with (FOLDER / "worker.log").open("a") as log:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def fetch_night(run, urls):
    """Publishes all pages and waits for their rows: seconds, and bytes that the origin sent, in all
    and for answers without a body."""
    LOG.write_bytes(b"")
    begin = time.monotonic()
    part = json.loads(fetchline("produce", "--run", run, "--json", urls).stdout)["part"]
    query = f"SELECT COUNT(*) FROM fetches WHERE run = '{run}' AND part = '{part}'"
    while sql(query) < args.pages:
        time.sleep(0.02)
    seconds = time.monotonic() - begin
    answers = [line.split() for line in LOG.read_text().splitlines()]
    heads = sum(int(size) for status, size in answers if status == "304")
    return seconds, sum(int(size) for _, size in answers), heads


def database_bytes():
    for table in ("INNODB_SYS_TABLESPACES", "INNODB_TABLESPACES"):
        try:
            names = "NAME LIKE 'fetchline_bench/%'"
            return int(sql(f"SELECT SUM(FILE_SIZE) FROM information_schema.{table} WHERE {names}"))
        except pymysql.err.OperationalError as error:
            say(f"{table}: {error.args[1]}")
    raise RuntimeError("the database does not tell the size of its files")


def prune_first_night(begins):
    """Seconds to delete the rows of the first night that is left."""
    age = time.time() - begins
    begin = time.monotonic()
    pruned = json.loads(fetchline("runs", "prune", "--older-than", f"{age:.0f}s", "--json").stdout)
    return time.monotonic() - begin, pruned


def nights_beside_prune(begins, urls):
    """Nights that were fetched while the rows of the first half of all nights were deleted."""
    age = time.time() - begins[len(begins) // 2]
    command = [BUILT / "fetchline", "runs", "prune", "--older-than", f"{age:.0f}s"]
    prune = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    nights = []
    while True:
        night = fetch_night("nightly", urls)
        if prune.poll() is not None:
            break
        nights.append(night)
    if prune.returncode != 0 or not nights:
        raise RuntimeError("the rows were not deleted while pages were fetched")
    return nights


def rates_of_rows():
    """Rows per second of each tenth of many rows, by the store alone with twice the memory."""
    clear()
    command = [BUILT / "rows", "--count", str(args.rows)]
    with buffer_pool(2 * args.buffer_pool):
        lines = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return [float(line.split()[1]) for line in lines.stdout.splitlines()]


def rate(nights):
    return args.pages / statistics.median(seconds for seconds, _, _ in nights)


def main():
    randomly = random.Random(1)
    with ExitStack() as stack:
        start_origin(stack)
        create_database()
        make_queues()
        clear()
        stack.enter_context(buffer_pool(args.buffer_pool))
        urls = FOLDER / "urls.txt"
        urls.write_text("".join(f"{URL}/{page}.html\n" for page in range(args.pages)))
        nights, begins = [], []
        with worker("--revalidate"):
            for night in range(args.nights):
                for page in randomly.sample(range(args.pages), int(args.pages * args.changing)):
                    write_page(page, night + 1)
                begins.append(time.time())
                nights.append(fetch_night("nightly", urls))
                if night % 30 == 0:
                    say(f"night {night}: {args.pages / nights[-1][0]:,.0f} URLs/s")
        size = database_bytes()
        with worker():
            without = [fetch_night("without", urls) for _ in range(3)]
        pruned = [prune_first_night(begins[night + 1])[0] for night in range(3)]
        with worker("--revalidate"):
            beside = nights_beside_prune(begins, urls)
        write(nights, without, pruned, beside, size, rates_of_rows())


def write(nights, without, pruned, beside, size, rows):
    first, last = rate(nights[1 : args.window + 1]), rate(nights[-args.window :])
    steady = statistics.mean(count for _, count, _ in nights[1:])
    heads = statistics.mean(count for _, _, count in nights[1:])
    full = statistics.mean(count for _, count, _ in without)
    version, page_kb = sql("SELECT VERSION()"), full / args.pages / 1000
    more, pruning = len(beside), rate(beside)
    (PROJECT / "docs/years.svg").write_text(
        chart.line("URLs per second of each night", [args.pages / night[0] for night in nights])
    )
    (PROJECT / "docs/years.md").write_text(f"""# A year of nightly runs

Generated by `make bench-years`.

One worker with `--revalidate` fetched the same {args.pages:,} pages of {page_kb:,.1f} kB in
{args.nights} nights; {args.changing:.0%} of the pages changed each night. The rate of a night is
that of the whole system, from the start of `produce` to the last row. Then the older half of all
rows was pruned, while {more} more nights were fetched. Database: {version}, with a buffer
pool of {args.buffer_pool} MiB.

![URLs per second of each night](years.svg)

| | |
|---|---:|
| rows of `fetches` after {args.nights} nights | {args.pages * args.nights:,} |
| URLs/s, median of nights 2 to {args.window + 1} | {first:,.0f} |
| URLs/s, median of the last {args.window} nights | {last:,.0f} |
| the last {args.window} nights compared with the first ones (goal: 95%) | {last / first:.0%} |
| size of the database then | {size / 2**20:,.0f} MiB |
| bytes that the site sends in a night without `--revalidate` | {full / 1e6:,.2f} MB |
| bytes that it sends in a night with `--revalidate`, on average | {steady / 1e6:,.2f} MB |
| of these, for responses 304 without a body | {heads / 1e6:,.2f} MB |
| bytes with `--revalidate`, as a share of those without (goal: at most 10%) | {steady / full:.1%} |
| seconds to prune one night | {statistics.median(pruned):.1f} |
| URLs/s while half of all rows are pruned, median of {more} nights | {pruning:,.0f} |
| these nights compared with the last {args.window} (goal: 90%) | {pruning / last:.0%} |

The store alone then wrote {args.rows:,} rows with bodies of 380 bytes, 500 in a transaction, with a
buffer pool of {2 * args.buffer_pool} MiB.

| | |
|---|---:|
| rows/s of the first tenth | {rows[0]:,.0f} |
| rows/s of the last tenth | {rows[-1]:,.0f} |
| the last tenth compared with the first one (goal: 90%) | {rows[-1] / rows[0]:.0%} |
""")
    say(f"{last / first:.0%} of the first rate, {steady / full:.1%} of the bytes")


main()
