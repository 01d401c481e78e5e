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


class Side:
    def __init__(self, name, command, table="fetches", reads_list=False):
        self.name, self.command, self.table, self.reads_list = name, command, table, reads_list


def ours(concurrency=100, *flags, binary=BUILT / "fetchline"):
    command = [binary, "work", "--listen", "off", "--batch-rows", "500", "--per-host", str(concurrency)]
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
            samples.append((now, done, processes.cpu(), processors()))
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
        first = next(moment for moment, done, *_ in samples if done > 0)
        rate = total / (ended - first)
        return {"rate": rate, "cpu": samples[-1][2] / total * 1e6, "peak": peak, "half_peak": half_peak}
    steady = [sample for sample in samples if total * 0.1 <= sample[1] <= total * 0.9]
    if len(steady) < 5:
        raise RuntimeError(f"{side.name}: {total} URLs are too few for a steady part")
    (t0, n0, c0, (all0, idle0, _)), (t1, n1, c1, (all1, idle1, _)) = steady[0], steady[-1]
    return {
        "rate": (n1 - n0) / (t1 - t0),
        "cpu": (c1 - c0) / (n1 - n0) * 1e6,
        "busy": 1 - (idle1 - idle0) / (all1 - all0),
        "peak": peak,
        "half_peak": half_peak,
    }


def turns(entries, visits, rounds=ROUNDS):
    """Trials of (name, side, URLs, perhaps how many workers) in turn; the median of each figure, by name."""
    results = {}
    for number in range(rounds):
        for key, side, urls, *workers in entries:
            result = trial(side, urls, visits, *workers)
            results.setdefault(key, []).append(result)
            say(f"  {number + 1}/{rounds} {key}: {result['rate']:.0f}/s, {result['cpu']:.0f} µs, {result['peak']:.0f} MiB")
    return {key: {figure: statistics.median(one[figure] for one in all_) for figure in all_[0]} for key, all_ in results.items()}


def urls(origin, path, count):
    return [f"http://127.0.0.1:{origin}/{path}/{number}" for number in range(count)]
