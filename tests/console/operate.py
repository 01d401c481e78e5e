"""Does the tasks of an operator in the console one after the other, and says what became of each.

Ends with 1 if a task fails. A screenshot of the page at which it failed is in the state folder.
"""

import os
import sys
import time
import traceback

import tasks
from console import Console
from fleet import STATE, Fleet


def main():
    fleet = Fleet()
    failed = 0
    try:
        console = Console(fleet.management, os.environ["SCREENSHOTS"])
        version = fleet.call("GET", "overview")["rabbitmq_version"]
        for task in tasks.ALL:
            began = time.monotonic()
            try:
                task(console, fleet)
                verdict = "ok"
            except Exception:
                failed += 1
                verdict = "FAILED"
                traceback.print_exc()
                console.page.screenshot(path=STATE / f"failed-{task.__name__}.png", full_page=True)
            seconds = time.monotonic() - began
            print(f"{verdict:7} {seconds:5.1f} s  {task.__doc__.splitlines()[0]}", flush=True)
        console.close()
    finally:
        fleet.stop()
    print(f"console of RabbitMQ {version}: {len(tasks.ALL) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
