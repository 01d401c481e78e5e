"""Who is measured, and how."""

import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

from ground import BUILT, ENVIRONMENT, QUEUE, STATE, clear, fetchline, processors, say, sql

RIVALS = pathlib.Path(__file__).resolve().parent / "rivals"
TICK = 1 / os.sysconf("SC_CLK_TCK")
ROUNDS = 3
# By how much of its median each side's processor time has differed between its rounds.
spreads = []


class Side:
    def __init__(self, name, command, table="fetches", reads_list=False):
        self.name, self.command, self.table, self.reads_list = name, command, table, reads_list


def ours(concurrency=100, *flags, binary=BUILT / "fetchline", per_host=None):
    command = [binary, "work", "--listen", "off", "--batch-rows", "500", "--per-host", str(per_host or concurrency)]
    return Side("fetchline", [*command, "--concurrency", str(concurrency), *flags])


def bare(concurrency=100, *flags):
    command = [BUILT / "bare", "work", "--queue", QUEUE, "--concurrency", str(concurrency), *flags]
    return Side("lapin + reqwest + sqlx, bare", command, "bare")


def asyncio_side(concurrency=100, *flags):
    command = [sys.executable, RIVALS / "asyncio_worker.py", "--queue", QUEUE, "--concurrency", str(concurrency), *flags]
    return Side("asyncio", command, "bare")


def scrapy_side():
    return Side("Scrapy", [sys.executable, RIVALS / "scrapy_worker.py", "--urls", STATE / "urls.txt"], "bare", reads_list=True)


class Processes:
    """Some processes of one side, as the operating system sees them."""

    def __init__(self, side, count=1):
        with open(STATE / "side.log", "w") as log:
            self.all = [
                subprocess.Popen(side.command, env=ENVIRONMENT | {"FETCHLINE_POD": f"bench-{number}"}, stdout=log, stderr=log)
                for number in range(count)
            ]

    def cpu(self):
        """Seconds, user and system."""
        total = 0
        for process in self.all:
            fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) * TICK
        return total

    def memory(self):
        """MiB of the largest, now and at its peak; of those that have ended, what was seen last."""
        states = "".join(pathlib.Path(f"/proc/{process.pid}/status").read_text() for process in self.all)
        if "VmRSS" in states:
            self.seen = [max(int(kib) for kib in re.findall(rf"{name}:\s+(\d+)", states)) / 1024 for name in ("VmRSS", "VmHWM")]
        return self.seen

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
    samples, half = [], None
    try:
        while True:
            done, now, memory = visits() - started, time.monotonic(), processes.memory()
            samples.append((now, done, processes.cpu(), processors()))
            if half is None and done >= total / 2:
                half = memory
            if done >= total:
                break
            if not processes.alive() or now - samples[0][0] > 900:
                raise RuntimeError(f"{side.name} has ended early or takes too long: see {STATE}/side.log")
            time.sleep(0.2 if done else 0.02)
        while sql(f"SELECT COUNT(*) FROM {side.table} WHERE status = 200") < total:
            time.sleep(0.1)
            if time.monotonic() - now > 120:
                raise RuntimeError(f"{side.name} does not write its rows: see {STATE}/side.log")
        ended, cpu, memory = time.monotonic(), processes.cpu(), processes.memory()
    finally:
        processes.end()
    result = {"rss": memory[0], "peak": memory[1], "half_rss": half[0], "half_peak": half[1]}
    if whole:
        began = max(moment for moment, done, *_ in samples if done == 0)
        return result | {"rate": total / (ended - began), "cpu": cpu / total * 1e6}
    steady = [sample for sample in samples if total * 0.1 <= sample[1] <= total * 0.9]
    if len(steady) < 5:
        raise RuntimeError(f"{side.name}: {total} URLs are too few for a steady part")
    (t0, n0, c0, (all0, idle0, _)), (t1, n1, c1, (all1, idle1, _)) = steady[0], steady[-1]
    return result | {
        "rate": (n1 - n0) / (t1 - t0),
        "cpu": (c1 - c0) / (n1 - n0) * 1e6,
        "busy": 1 - (idle1 - idle0) / (all1 - all0),
    }


def time_of_others(side, slow, others):
    """Seconds from the start of one side to the last row of `others`, where `slow` stand before them in the queue; and how many
    of the slow ones have a row by then."""
    clear()
    for run, pages in (("slow", slow), ("others", others)):
        if pages:
            (STATE / "urls.txt").write_text("\n".join(pages))
            fetchline("produce", "--run", run, STATE / "urls.txt")
    began, processes = time.monotonic(), Processes(side)
    try:
        while sql("SELECT COALESCE(SUM(tasks), 0) FROM run_counts WHERE run = 'others'") < len(others):
            if not processes.alive() or time.monotonic() - began > 1800:
                raise RuntimeError(f"{side.name} has ended early or takes too long: see {STATE}/side.log")
            time.sleep(0.1)
        ended = time.monotonic()
        done = sql("SELECT COALESCE(SUM(tasks), 0) FROM run_counts WHERE run = 'slow'")
    finally:
        processes.end()
    return ended - began, int(done)


class Turns:
    """Trials of (name, side, URLs, perhaps how many workers) in turn, round by round, every other round from the last to the first."""

    def __init__(self, entries, visits, rounds=ROUNDS, whole=False):
        self.results = {key: [] for key, *_ in entries}
        for number in range(rounds):
            for key, side, urls, *workers in reversed(entries) if number % 2 else entries:
                result = trial(side, urls, visits, *workers, whole=whole)
                self.results[key].append(result)
                say(f"  {number + 1}/{rounds} {key}: {result['rate']:.0f}/s, {result['cpu']:.0f} µs, {result['peak']:.0f} MiB")
        if rounds > 1:
            for results in self.results.values():
                costs = [result["cpu"] for result in results]
                spreads.append((max(costs) - min(costs)) / statistics.median(costs))

    def medians(self):
        """Of each figure, by name."""
        return {
            key: {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}
            for key, rounds in self.results.items()
        }

    def ratio(self, figure, of, to):
        """Of two sides' figures."""
        return ratio(*([result[figure] for result in self.results[side]] for side in (of, to)))


def ratio(of, to):
    """The median of what the rounds say, each for itself: while a machine is slower, it is so for both sides."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def urls(origin, path, count):
    return [f"http://127.0.0.1:{origin}/{path}/{number}" for number in range(count)]
