"""The sides that are measured, and the trials that measure them."""

import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

from ground import BUILT, ENVIRONMENT, PROJECT, QUEUE, STATE, clear, fetchline, processors, say, sql

RIVALS = pathlib.Path(__file__).resolve().parent / "rivals"
LIST = STATE / "urls.txt"
TICK = 1 / os.sysconf("SC_CLK_TCK")
ROUNDS = 3
# For each side, by which share of its median its processor time varied between its rounds.
spreads = []


class Side:
    def __init__(self, name, command, table="fetches", reads_list=False):
        self.name, self.command = name, command
        self.table, self.reads_list = table, reads_list


def ours(concurrency=100, *flags, binary=BUILT / "fetchline", per_host=None):
    command = [binary, "work", "--listen", "off", "--batch-rows", "500"]
    command += ["--per-host", str(per_host or concurrency), "--concurrency", str(concurrency)]
    return Side("fetchline", [*command, *flags])


def bare(concurrency=100, *flags):
    command = [BUILT / "bare", "work", "--queue", QUEUE, "--concurrency", str(concurrency)]
    return Side("lapin + reqwest + sqlx, bare", [*command, *flags], "bare")


def asyncio_side(concurrency=100, *flags):
    command = [sys.executable, RIVALS / "asyncio_worker.py", "--queue", QUEUE]
    return Side("asyncio", [*command, "--concurrency", str(concurrency), *flags], "bare")


def node_side(concurrency=100):
    program = PROJECT / ".local/bench-node/node_worker.mjs"
    command = ["node", program, "--queue", QUEUE, "--concurrency", str(concurrency)]
    return Side("Node", command, "bare")


def scrapy_side():
    command = [sys.executable, RIVALS / "scrapy_worker.py", "--urls", LIST]
    return Side("Scrapy", command, "bare", reads_list=True)


class Processes:
    """Some processes of one side, as the operating system sees them."""

    def __init__(self, side, count=1):
        with open(STATE / "side.log", "w") as log:
            self.all = [
                subprocess.Popen(
                    side.command,
                    env=ENVIRONMENT | {"FETCHLINE_POD": f"bench-{number}"},
                    stdout=log,
                    stderr=log,
                )
                for number in range(count)
            ]

    def cost(self):
        """User and system time, in seconds, and the page faults without disk access."""
        seconds = faults = 0
        for process in self.all:
            stat = pathlib.Path(f"/proc/{process.pid}/stat").read_text()
            fields = stat.rsplit(")", 1)[1].split()
            seconds += (int(fields[11]) + int(fields[12])) * TICK
            faults += int(fields[7])
        return seconds, faults

    def memory(self):
        """Resident and peak memory of the largest process, in MiB; the last known values."""
        states = "".join(
            pathlib.Path(f"/proc/{process.pid}/status").read_text() for process in self.all
        )
        if "VmRSS" in states:
            self.last_memory = [
                max(int(kib) for kib in re.findall(rf"{name}:\s+(\d+)", states)) / 1024
                for name in ("VmRSS", "VmHWM")
            ]
        return self.last_memory

    def files(self):
        """The open files of all processes."""
        return sum(len(os.listdir(f"/proc/{process.pid}/fd")) for process in self.all)

    def alive(self):
        # An ended process is not waited for yet, so that what it cost can still be read.
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return all(os.waitid(os.P_PID, process.pid, flags) is None for process in self.all)

    def end(self):
        for process in self.all:
            process.send_signal(signal.SIGTERM)
        for process in self.all:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def write_list(urls):
    LIST.write_text("\n".join(urls))


def publish_list(run="bench"):
    fetchline("produce", "--run", run, LIST)


def trial(side, urls, visits, workers=1, whole=False):
    """Measures one side over these URLs.

    `visits` returns the origin's count of requests. With `whole`, the rate is that from the first
    request to the last row, else that of the steady part.
    """
    clear()
    total = len(urls)
    write_list(urls)
    if not side.reads_list:
        publish_list()
    before = visits()
    processes = Processes(side, workers)
    samples, half, files = [], None, 0
    try:
        while True:
            done, now, memory = visits() - before, time.monotonic(), processes.memory()
            samples.append((now, done, *processes.cost(), processors()))
            if half is None and done >= total / 2:
                half = memory
            if processes.alive():
                files = max(files, processes.files())
            if done >= total:
                break
            if not processes.alive() or now - samples[0][0] > 900:
                raise RuntimeError(f"{side.name} ended early or is too slow: see {STATE}/side.log")
            time.sleep(0.2 if done else 0.02)
        while sql(f"SELECT COUNT(*) FROM {side.table} WHERE status = 200") < total:
            time.sleep(0.1)
            if time.monotonic() - now > 120:
                raise RuntimeError(f"{side.name} does not write its rows: see {STATE}/side.log")
        ended, (cpu, _), memory = time.monotonic(), processes.cost(), processes.memory()
    finally:
        processes.end()
    result = {"rss": memory[0], "peak": memory[1], "half_rss": half[0], "half_peak": half[1]}
    result["files"] = files
    if whole:
        began = max(moment for moment, done, *_ in samples if done == 0)
        return result | {"rate": total / (ended - began), "cpu": cpu / total * 1e6}
    return result | steady_part(side, total, samples)


def steady_part(side, total, samples):
    """The figures between 10 % and 90 % of the requests."""
    steady = [sample for sample in samples if total * 0.1 <= sample[1] <= total * 0.9]
    if len(steady) < 5:
        raise RuntimeError(f"{side.name}: {total} URLs are too few for a steady part")
    (t0, n0, c0, f0, (all0, idle0, _)), (t1, n1, c1, f1, (all1, idle1, _)) = steady[0], steady[-1]
    return {
        "rate": (n1 - n0) / (t1 - t0),
        "cpu": (c1 - c0) / (n1 - n0) * 1e6,
        "faults": (f1 - f0) / (n1 - n0),
        "busy": 1 - (idle1 - idle0) / (all1 - all0),
    }


def tasks_of(run):
    return sql(f"SELECT COALESCE(SUM(tasks), 0) FROM run_counts WHERE run = '{run}'")


def time_of_others(side, slow, others):
    """Fetches `others` with `slow` ahead of them in the queue.

    Returns the seconds from the start of the side to the last row of `others`, and how many of the
    slow pages have a row by then.
    """
    clear()
    for run, pages in (("slow", slow), ("others", others)):
        if pages:
            write_list(pages)
            publish_list(run)
    began, processes = time.monotonic(), Processes(side)
    try:
        while tasks_of("others") < len(others):
            if not processes.alive() or time.monotonic() - began > 1800:
                raise RuntimeError(f"{side.name} ended early or is too slow: see {STATE}/side.log")
            time.sleep(0.1)
        ended = time.monotonic()
        done = tasks_of("slow")
    finally:
        processes.end()
    return ended - began, int(done)


class Rounds:
    """Trials of the entries in alternation, every other round in reverse order.

    An entry is a name, a side, its URLs and optionally a number of workers.
    """

    def __init__(self, entries, visits, rounds=ROUNDS, whole=False):
        self.results = {key: [] for key, *_ in entries}
        for number in range(rounds):
            for key, side, urls, *workers in reversed(entries) if number % 2 else entries:
                result = trial(side, urls, visits, *workers, whole=whole)
                self.results[key].append(result)
                say(
                    f"  {number + 1}/{rounds} {key}: {result['rate']:.0f}/s, "
                    f"{result['cpu']:.0f} µs, {result['peak']:.0f} MiB"
                )
        if rounds > 1:
            for results in self.results.values():
                costs = [result["cpu"] for result in results]
                spreads.append((max(costs) - min(costs)) / statistics.median(costs))

    def medians(self):
        """The median of each figure, by entry."""
        return {
            key: {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}
            for key, rounds in self.results.items()
        }

    def ratio(self, figure, of, to):
        """The ratio of a figure of two entries."""
        return ratio(*([result[figure] for result in self.results[side]] for side in (of, to)))


def ratio(of, to):
    """The median of the rounds' ratios: a machine that is slower for a while slows both sides."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def urls(origin, path, count):
    return [f"http://127.0.0.1:{origin}/{path}/{number}" for number in range(count)]
