"""Measures fetchline beside what people would use instead, all in one run on this machine, and writes docs/benchmarks.md.

A trial fills a queue (or writes a list), starts one side, and looks at how many requests the origin has seen and at the
processor time that the operating system has charged to the side's processes. Rates and processor time are those between the
tenth and the ninetieth hundredth of the requests, so that starting and ending do not count. Sides take turns, round by round;
what is told are medians, and ratios of medians.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

import pymysql
from yarl import URL

import chart

parser = argparse.ArgumentParser()
parser.add_argument("--full", action="store_true", help="the full sizes; takes an hour")
parser.add_argument("--only", help="a pattern: only these sections, and nothing is written into docs")
args = parser.parse_args()

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
RIVALS = PROJECT / "tests/bench/rivals"
STATE = PROJECT / ".local/bench"
BUILT = pathlib.Path(os.environ["BUILT"])
DATABASE = URL(os.environ["DATABASE_URL"]).with_path("/fetchline_bench")
PREFIX = "bench"
QUEUE = f"{PREFIX}.urls"
TICK = 1 / os.sysconf("SC_CLK_TCK")
ROUNDS = 3
NGINX_PORT, SHOP_PORT = 18480, 18481
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("FETCHLINE_", "OTEL_", "RUST_LOG"))}
ENVIRONMENT |= {"DATABASE_URL": str(DATABASE), "FETCHLINE_PREFIX": PREFIX, "FETCHLINE_ALLOW_NETWORK": "127.0.0.0/8"}
JSON_BODY = json.dumps({"id": 17, "name": "Tea", "price": "12.99", "currency": "EUR", "description": "x" * 300})[:379] + "}"


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


# --- Origins -----------------------------------------------------------------------------------------------------------------


def start_nginx(page):
    folder = STATE / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "page.html").write_bytes(page)
    body = JSON_BODY.replace("'", "\\'")
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; error_log {folder}/error.log; pid {folder}/pid;
events {{ worker_connections 20000; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000; default_type text/html;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{NGINX_PORT};
    location /json/ {{ default_type application/json; return 200 '{body}'; }}
    location /html/ {{ root {folder}; charset utf-8; try_files /page.html =404; }}
    location /text/ {{ root {folder}; default_type text/plain; types {{ }} try_files /page.html =404; }}
    location /status {{ stub_status; }}
  }}
}}
""")
    return subprocess.Popen(["/usr/sbin/nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def nginx_visits():
    # "server accepts handled requests", and below these four the numbers; the asking ones count, too.
    return int(get(f"http://127.0.0.1:{NGINX_PORT}/status").split()[9])


def shop_visits():
    return json.loads(get(f"http://127.0.0.1:{SHOP_PORT}/-/visits?top=0"))["total"]


# --- Broker and database -------------------------------------------------------------------------------------------------------


def sql(statement):
    connection = pymysql.connect(host=DATABASE.host, port=DATABASE.port, user=DATABASE.user, database=DATABASE.path.strip("/"))
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()
        row = cursor.fetchone()
        return row[0] if row else None


def fetchline(*arguments, **options):
    return subprocess.run([BUILT / "fetchline", *arguments], env=ENVIRONMENT, check=True, capture_output=True, text=True, **options)


def broker_api(method, path):
    url = f"{os.environ['MANAGEMENT_URL']}/api/{path}"
    amqp = URL(os.environ["AMQP_URL"])
    request = urllib.request.Request(url, method=method)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, os.environ["MANAGEMENT_URL"], amqp.user, amqp.password)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    with opener.open(request, timeout=30) as answer:
        return answer.read()


def queue_ready():
    queues = json.loads(fetchline("status", "--json").stdout)["queues"]
    return next(queue["ready"] for queue in queues if queue["name"] == QUEUE)


def clear():
    broker_api("DELETE", f"queues/%2f/{QUEUE}/contents")
    for table in ("fetches", "bare", "run_counts", "runs", "items", "price_history"):
        try:
            sql(f"TRUNCATE TABLE {table}")
        except pymysql.err.ProgrammingError:
            pass  # one that only another side makes


# --- Sides -----------------------------------------------------------------------------------------------------------------


class Side:
    def __init__(self, name, command, table="fetches", reads_list=False):
        self.name, self.command, self.table, self.reads_list = name, command, table, reads_list


def ours(concurrency=100, *flags):
    command = [BUILT / "fetchline", "work", "--listen", "off", "--batch-rows", "500", "--per-host", str(concurrency)]
    return Side("fetchline", [*command, "--concurrency", str(concurrency), *flags])


def bare(concurrency=100):
    command = [BUILT / "bare", "work", "--queue", QUEUE, "--concurrency", str(concurrency), "--batch", "500"]
    return Side("lapin + reqwest + sqlx, bare", command, "bare")


def asyncio_side(*flags):
    name = "asyncio with uvloop" if flags else "asyncio"
    return Side(name, [sys.executable, RIVALS / "asyncio_worker.py", "--queue", QUEUE, *flags], "bare")


def scrapy_side():
    return Side("Scrapy", [sys.executable, RIVALS / "scrapy_worker.py", "--urls", STATE / "urls.txt"], "bare", reads_list=True)


class Processes:
    """Some processes of one side, as the operating system sees them."""

    def __init__(self, side, count=1):
        log = open(STATE / "side.log", "w")
        self.all = []
        for number in range(count):
            environment = ENVIRONMENT | {"FETCHLINE_POD": f"bench-{number}"}
            self.all.append(subprocess.Popen(side.command, env=environment, stdout=log, stderr=log))

    def cpu(self):
        """Seconds, user and system."""
        total = 0
        for process in self.all:
            fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) * TICK
        return total

    def peak(self):
        """MiB, of the largest."""
        peaks = [re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text()) for process in self.all]
        return max(int(peak.group(1)) for peak in peaks if peak) / 1024

    def alive(self):
        return all(process.poll() is None for process in self.all)

    def end(self):
        for process in self.all:
            process.send_signal(signal.SIGTERM)
        for process in self.all:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def trial(side, urls, visits, workers=1, whole=False):
    """One side over these URLs. `whole`: from the first request to the last row, else the steady part."""
    clear()
    total = len(urls)
    (STATE / "urls.txt").write_text("\n".join(urls))
    if not side.reads_list:
        fetchline("produce", "--run", "bench", STATE / "urls.txt")
    started = visits()
    processes = Processes(side, workers)
    samples, half_peak = [], None
    try:
        while True:
            done = visits() - started
            now = time.monotonic()
            samples.append((now, done, processes.cpu()))
            if half_peak is None and done >= total / 2:
                half_peak = processes.peak()
            if done >= total:
                break
            if not processes.alive() or now - samples[0][0] > 900:
                raise RuntimeError(f"{side.name} has ended early or takes too long: see {STATE}/side.log")
            time.sleep(0.2)
        while sql(f"SELECT COUNT(*) FROM {side.table}") < total:
            time.sleep(0.1)
            if time.monotonic() - now > 120:
                raise RuntimeError(f"{side.name} does not write its rows: see {STATE}/side.log")
        ended, peak = time.monotonic(), processes.peak()
    finally:
        processes.end()
    if whole:
        first = next(moment for moment, done, _ in samples if done > 0)
        rate = total / (ended - first)
        return {"rate": rate, "cpu": samples[-1][2] / total * 1e6, "peak": peak, "half_peak": half_peak}
    steady = [sample for sample in samples if total * 0.1 <= sample[1] <= total * 0.9]
    if len(steady) < 5:
        raise RuntimeError(f"{side.name}: {total} URLs are too few for a steady part")
    (t0, n0, c0), (t1, n1, c1) = steady[0], steady[-1]
    return {"rate": (n1 - n0) / (t1 - t0), "cpu": (c1 - c0) / (n1 - n0) * 1e6, "peak": peak, "half_peak": half_peak}


def turns(entries, visits, rounds=ROUNDS):
    """Trials of (side, urls) in turn; the median of each figure, by the side's name."""
    results = {}
    for number in range(rounds):
        for key, side, urls in entries:
            result = trial(side, urls, visits)
            results.setdefault(key, []).append(result)
            say(f"  {number + 1}/{rounds} {key}: {result['rate']:.0f}/s, {result['cpu']:.0f} µs, {result['peak']:.0f} MiB")
    return {key: {figure: statistics.median(one[figure] for one in all_) for figure in all_[0]} for key, all_ in results.items()}


def urls(origin, path, count):
    return [f"http://127.0.0.1:{origin}/{path}/{number}" for number in range(count)]


# --- Sections --------------------------------------------------------------------------------------------------------------

tables, goals = [], []


def table(title, text, header, rows):
    tables.append((title, text, header, rows))


def goal(on, wanted, figure, reached):
    goals.append((on, wanted, figure, reached))


def side_rows(results):
    return [(name, f"{r['rate']:,.0f}", f"{r['cpu']:,.0f}", f"{r['peak']:,.0f}") for name, r in results.items()]


SIDES = ("", "URLs/s", "CPU µs/URL", "peak MiB")


def small_json():
    size = 3 if args.full else 1
    entries = [
        ("fetchline", ours(), urls(NGINX_PORT, "json", 100_000 * size)),
        ("lapin + reqwest + sqlx, bare", bare(), urls(NGINX_PORT, "json", 100_000 * size)),
        ("asyncio", asyncio_side(), urls(NGINX_PORT, "json", 15_000 * size)),
        ("asyncio with uvloop", asyncio_side("--uvloop"), urls(NGINX_PORT, "json", 18_000 * size)),
        ("Scrapy", scrapy_side(), urls(NGINX_PORT, "json", 4_000 * size)),
        ("fetchline, bodies not stored", ours(100, "--store-body", "none"), urls(NGINX_PORT, "json", 100_000 * size)),
    ]
    r = turns(entries, nginx_visits)
    table("380 bytes of JSON at once, stored", "nginx answers at once; concurrency 100, batches of 500.", SIDES, side_rows(r))
    ours_, theirs, barest = r["fetchline"], r["asyncio"], r["lapin + reqwest + sqlx, bare"]
    speed, saved, over = ours_["rate"] / theirs["rate"], theirs["cpu"] / ours_["cpu"], ours_["cpu"] / barest["cpu"]
    goal("small JSON, stored", "6 times the URLs/s of asyncio (aim: 8)", f"{speed:.1f}", speed >= 6)
    goal("small JSON, stored", "a sixth of asyncio's CPU per URL", f"1/{saved:.1f}", saved >= 6)
    goal("small JSON, stored", "at most 1.35 times the bare loop's CPU per URL (aim: 1.2)", f"{over:.2f}", over <= 1.35)


def html():
    size = 3 if args.full else 1
    entries = [
        ("fetchline, with extraction", ours(), urls(NGINX_PORT, "html", 20_000 * size)),
        ("fetchline, without", ours(), urls(NGINX_PORT, "text", 30_000 * size)),
        ("asyncio", asyncio_side(), urls(NGINX_PORT, "text", 8_000 * size)),
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
        rows.append((f"{concurrency:,} at once, {count:,} URLs", f"{result['rate']:,.0f}", f"{share:.1%}", f"{result['peak']:,.0f}"))
        say(f"  {rows[-1]}")
    table("Pages that take 10 s", "The sample shop; from the first request to the last row.", ("", "URLs/s", "of concurrency / latency", "peak MiB"), rows)
    goal("10 s pages, concurrency 10,000", "90 % of concurrency / latency", f"{share:.1%}", share >= 0.9)
    goal("10 s pages, concurrency 10,000", "peak memory under 400 MiB", f"{result['peak']:.0f} MiB", result["peak"] < 400)


def scaling():
    rows, one = [], None
    for workers in (1, 2, 4, 8):
        count = 500 * workers * 14
        result = trial(ours(), urls(SHOP_PORT, "slow/200", count), shop_visits, workers=workers)
        one = one or result["rate"]
        share = result["rate"] / (one * workers)
        rows.append((str(workers), f"{result['rate']:,.0f}", f"{share:.1%}", f"{result['cpu']:,.0f}"))
        say(f"  {rows[-1]}")
        if workers > 1:
            goal(f"{workers} workers on one queue, 200 ms pages", "95 % of linear", f"{share:.1%}", share >= 0.95)
    table("Workers on one queue", "200 ms pages, concurrency 100 each.", ("workers", "URLs/s", "of linear", "CPU µs/URL"), rows)


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
                    script = [sys.executable, RIVALS / "asyncio_publish.py"] if name.startswith("aio") else [BUILT / "bare", "publish"]
                    done = subprocess.run([*script, "--queue", QUEUE], stdin=lines, env=ENVIRONMENT, check=True, capture_output=True, text=True)
                    rate = float(done.stdout)
            results.setdefault(name, []).append(rate)
            say(f"  {name}: {rate:,.0f}/s")
    clear()
    r = {name: statistics.median(rates) for name, rates in results.items()}
    table("Publishing", f"{count:,} URLs into a quorum queue, persistent. fetchline's figure is that of the whole process.", ("", "URLs/s"), [(name, f"{rate:,.0f}") for name, rate in r.items()])
    speed = r["fetchline produce"] / r["aio-pika, with confirms"]
    share = r["fetchline produce"] / r["lapin, without confirms"]
    goal("publishing with confirms", "5 times aio-pika with confirms", f"{speed:.1f}", speed >= 5)
    goal("publishing with confirms", "60 % of publishing without", f"{share:.0%}", share >= 0.6)


def memory():
    count = 1_000_000 if args.full else 200_000
    result = trial(ours(), urls(NGINX_PORT, "json", count), nginx_visits)
    added = result["peak"] - result["half_peak"]
    table("Memory over many URLs", f"{count:,} URLs of small JSON through one worker.", ("", "MiB"), [("peak after the first half", f"{result['half_peak']:.1f}"), ("peak at the end", f"{result['peak']:.1f}")])
    goal(f"memory, {count:,} small URLs", "the second half adds under 10 MiB", f"{added:.1f} MiB", added < 10)


def limits():
    rows = []
    for path, what in (("json", "380 bytes of JSON"), ("html", "40 kB of HTML")):
        done = subprocess.run(["wrk", "-t1", "-c100", "-d5s", f"http://127.0.0.1:{NGINX_PORT}/{path}/1"], capture_output=True, text=True, check=True)
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
    done = subprocess.run([BUILT / "bare", "insert", "--queue", QUEUE, "--count", "100000"], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    rows.append(("the database, inserting alone, 500 rows of 380 bytes at once", float(done.stdout)))
    table("The limit of each part", "Alone, on the same machine.", ("", "per second"), [(name, f"{rate:,.0f}") for name, rate in rows])


# --- All of it ---------------------------------------------------------------------------------------------------------------

SECTIONS = [limits, small_json, html, slow_pages, very_slow_pages, scaling, publishing, memory]


def markdown(rows, header):
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0].strip()
    except (OSError, IndexError):
        return "unknown"


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory_ = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) / 2**20
    rabbitmq = json.loads(broker_api("GET", "overview"))["rabbitmq_version"]
    return (
        f"{os.cpu_count()} cores ({cpu.group(1) if cpu else 'unknown'}), {memory_:.0f} GiB, Linux {platform.release()}; RabbitMQ {rabbitmq}, "
        f"{sql('SELECT VERSION()')}, Python {platform.python_version()}, {first_line('rustc', '--version')}; "
        f"{first_line(BUILT / 'fetchline', '--version')}, {time.strftime('%Y-%m-%d')}"
    )


def write():
    text = ["# Benchmarks", "", "Made by `make bench-full`." if args.full else "Made by `make bench`.", ""]
    text += [f"Everything ran on one machine: {machine()}. Broker, database, origin and workers share its cores, so rates are those of", "the whole; processor time is the worker's own. Three rounds in turn, medians; single figures move by a tenth, ratios less.", ""]
    text += ["![URLs per second and processor time per URL](benchmarks.svg)", "", "## What was to be reached", ""]
    text += [markdown([(on, wanted, figure, "yes" if reached else "**no**") for on, wanted, figure, reached in goals], ("on", "at least", "measured", "reached")), ""]
    for title, what, header, rows in tables:
        text += [f"## {title}", "", what, "", markdown(rows, header), ""]
    text += ["## How it was measured", "", __doc__.split("\n\n", 1)[1].strip(), ""]
    (PROJECT / "docs/benchmarks.md").write_text("\n".join(text))
    (PROJECT / "docs/benchmarks.svg").write_text(chart.draw(tables))


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
        for section in SECTIONS:
            if not args.only or re.search(args.only, section.__name__):
                say(section.__name__)
                section()
    finally:
        clear()
        for process in (nginx, shop):
            process.terminate()
            process.wait()
    for on, wanted, figure, reached in goals:
        print(f"{'reached' if reached else 'MISSED '}  {on}: {wanted}: {figure}")
    if not args.only:
        write()
    else:
        for title, _, header, rows in tables:
            print(f"\n{title}\n{markdown(rows, header)}")


main()
