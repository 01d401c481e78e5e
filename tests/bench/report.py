"""What was measured, as Markdown and as a chart, in docs."""

import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import time

import chart
from ground import BUILT, PROJECT, broker_api, processors, sql
from sides import spreads

tables, goals = [], []
began, started = processors(), time.monotonic()


def table(title, text, header, rows):
    tables.append((title, text, header, rows))


def goal(on, wanted, figure, reached):
    """`reached`: whether, or a text that says why it cannot be told."""
    goals.append((on, wanted, figure, {True: "yes", False: "**no**"}.get(reached, reached)))


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
        f"{sql('SELECT VERSION()')} with a buffer pool of {sql('SELECT @@innodb_buffer_pool_size') // 2**20} MiB, Python {platform.python_version()}, {first_line('rustc', '--version')}; "
        f"{first_line(BUILT / 'fetchline', '--version')}, {time.strftime('%Y-%m-%d')}"
    )


def write(command, how):
    """Into docs. `how` says how it was measured."""
    text = ["# Benchmarks", "", f"Made by `{command}`.", ""]
    all_, _, stolen = (now - then for now, then in zip(processors(), began))
    text += [
        f"Everything ran on one machine: {machine()}. Broker, database, origin and workers share its cores, so rates are those of",
        f"the whole; processor time is the side's own. It took {(time.monotonic() - started) / 60:.0f} minutes. Between its rounds a side's processor time",
        f"differed by {statistics.median(spreads):.0%} (the median over all sides); the machine's host took {stolen / all_:.0%} of its processor time from it (steal).",
        "",
    ]
    text += ["![URLs per second and processor time per URL](benchmarks.svg)", "", "## What was to be reached", ""]
    text += [
        markdown(
            goals,
            ("on", "wanted", "measured", "reached"),
        ),
        "",
        "A ratio is the median of the rounds' own ratios, so it is not quite that of the medians in the tables below.",
        "",
    ]
    for title, what, header, rows in tables:
        text += [f"## {title}", "", what, "", markdown(rows, header), ""]
    text += ["## How it was measured", "", how, ""]
    (PROJECT / "docs/benchmarks.md").write_text("\n".join(text))
    (PROJECT / "docs/benchmarks.svg").write_text(chart.draw(tables))
