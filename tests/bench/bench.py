"""Measures fetchline beside its alternatives on this machine and writes docs/benchmarks.md.

A trial fills a queue (or writes a list), starts one program, and samples how many requests the
origin has received and how much processor time the operating system has charged to the program.
Rates and processor time are those between 10 % and 90 % of the requests, so that the start and the
end do not count. In each round every program runs once; every second round reverses the order.
Figures are medians over the rounds; so are ratios, which are taken within a round.
"""

import argparse
import pathlib
import re
import subprocess
from contextlib import ExitStack

import pymysql

import report
import tls
from ground import (
    BUILT,
    NGINX_PORT,
    SHOP_PORT,
    STATE,
    answer_of,
    clear,
    create_database,
    fetchline,
    make_queues,
    say,
    start_nginx,
)
from sections import SECTIONS, builds

parser = argparse.ArgumentParser()
parser.add_argument("--full", action="store_true", help="the full sizes; takes over an hour")
parser.add_argument(
    "--only", metavar="PATTERN", help="only the matching sections; nothing is written into docs"
)
parser.add_argument(
    "--against",
    type=pathlib.Path,
    metavar="BINARY",
    help="compare this build with another one; nothing is written into docs",
)
args = parser.parse_args()


def origins(stack):
    """Starts the shop and nginx, which run until the stack is closed."""

    def until_the_end(process):
        stack.callback(process.wait)
        stack.callback(process.terminate)
        return process

    command = [BUILT / "shop", "--listen", f"127.0.0.1:{SHOP_PORT}"]
    shop = until_the_end(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    page = answer_of(shop, f"http://127.0.0.1:{SHOP_PORT}/big/1")
    nginx = until_the_end(start_nginx(page, tls.prepare()))
    answer_of(nginx, f"http://127.0.0.1:{NGINX_PORT}/json/1")


def measure():
    if args.against:
        say(builds.__name__)
        builds(args.full, args.against)
        return
    for section in SECTIONS:
        if not args.only or re.search(args.only, section.__name__):
            say(section.__name__)
            section(args.full)


def main():
    STATE.mkdir(parents=True, exist_ok=True)
    create_database()
    with ExitStack() as stack:
        origins(stack)
        make_queues()
        stack.callback(clear)
        measure()
    for on, wanted, figure, reached in report.goals:
        print(f"{reached:6} {on}: {wanted}: {figure}")
    if not args.only and not args.against:
        method = __doc__.split("\n\n", 1)[1].strip()
        report.write("make bench-full" if args.full else "make bench", method)
    else:
        for title, _, header, rows in report.tables:
            print(f"\n{title}\n{report.markdown(rows, header)}")


main()
