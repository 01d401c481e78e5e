"""The tasks of an operator who has nothing but RabbitMQ's console.

Each is done as docs/operations.md describes it. What the operator then sees in the console is
checked, and where it matters also what the site and the database have seen.
"""

import json
import time

from fleet import WORKERS, wait_until

NEWS = "fetchline.news"


def look_at_the_fleet(console, _fleet):
    """Look at the fleet: what is queued, and which workers run"""
    expected = {f"fetchline.{name}" for name in ("urls", "runs", "dead", "news", "control")}
    queues = wait_until(
        "the page of the queues shows their numbers",
        lambda: (queues := console.queues()) and "NaN" not in queues.values() and queues,
    )
    assert expected <= queues.keys(), queues
    for pod in WORKERS:
        console.hears("worker_joined", pod)
    wait_until(
        "both workers consume",
        lambda: sorted(console.consumers("fetchline.urls")) == list(WORKERS),
    )
    console.screenshot("consumers", console.section("Consumers"))
    connections = console.connections()
    for name in (f"fetchline-{role}@{pod}" for role in ("consume", "control") for pod in WORKERS):
        assert name in connections, f"{name} is not on the page of the connections"
    console.queues()
    console.screenshot("queues")


def publish_a_url(console, fleet):
    """Publish a URL"""
    url = f"{fleet.site}/p/1"
    console.open("exchanges", "fetchline", "fetchline")
    form = console.fill_message(url, key="urls")
    console.screenshot("publish", form)
    answer = console.send(form)
    assert "Message published" in answer and "not routed" not in answer, answer
    # The name of the queue does as well, and a wrong key is not lost without a word.
    assert "not routed" not in console.publish("fetchline.urls", f"<{fleet.site}/p/2>")
    assert "not routed" in console.publish("url", url)
    wait_until("both pages are fetched", lambda: fleet.visits("/p/1") and fleet.visits("/p/2"))


def publish_a_list(console, fleet):
    """Publish a pasted list, and find out which of its lines were wrong"""
    pages = [f"{fleet.site}/p/{number}" for number in range(10, 20)]
    pasted = "\n".join([*pages, "www.shop.example/p/5", '{"url": "https://a.example", "metod": 1}'])
    assert "not routed" not in console.publish("list", pasted)
    wait_until("the pages are fetched", lambda: all(fleet.visits(f"/p/{n}") for n in range(10, 20)))
    letters = wait_until(
        "the wrong lines are dead letters",
        lambda: len(letters := console.messages("fetchline.dead")) == 2 and letters,
    )
    shown = "\n".join(text for _, text in letters)
    for expected in ("not_a_task", "https://", "unknown field `metod`", "x-worker"):
        assert expected in shown, f"{expected!r} is not in {shown}"
    console.screenshot("dead-letter", console.message(0))


def pause_and_resume_everything(console, fleet):
    """Pause everything, and resume it"""
    console.open_queue("fetchline.control")
    form = console.fill_message("pause")
    console.screenshot("control", form)
    assert "Message published" in console.send(form)
    fact = console.hears("paused")
    assert sorted(fact["pods"]) == list(WORKERS) and fact["by"] == "the console", fact
    wait_until("nothing consumes URLs", lambda: console.consumers("fetchline.urls") == [])
    console.publish("urls", f"{fleet.site}/p/30")
    wait_until("the task waits", lambda: console.queues()["fetchline.urls"] == "1")
    assert fleet.visits("/p/30") == 0
    console.direct("resume")
    fact = console.hears("resumed")
    assert sorted(fact["pods"]) == list(WORKERS), fact
    wait_until("the page is fetched", lambda: fleet.visits("/p/30"))


def set_the_concurrency(console, _fleet):
    """Set the concurrency, and take that back"""
    console.direct("concurrency=5")
    assert "up to 5 fetches" in console.hears("concurrency", "up to 5")["news"]

    def tags(suffix):
        tags = console.consumers("fetchline.urls")
        return len(tags) == 2 and all((suffix in tag) == bool(suffix) for tag in tags)

    wait_until("the consumers say so", lambda: tags("concurrency=5"))
    console.direct("concurrency default")
    console.hears("concurrency", "--concurrency says")
    wait_until(
        "the consumers say so",
        lambda: not any("concurrency" in tag for tag in console.consumers("fetchline.urls")),
    )


def slow_a_host(console, fleet):
    """Slow a host, and free it"""
    console.direct(f"host {fleet.host} 2/s")
    console.hears("host", "at most 2 requests per second")
    # The workers follow within two seconds.
    limits = json.loads(fleet.fetchline("hosts", "list", "--json"))
    assert fleet.host in json.dumps(limits), limits
    pages = range(100, 140)
    console.publish("list", "\n".join(f"{fleet.site}/p/{number}" for number in pages))
    first = fleet.visits()
    wait_until("the first pages are fetched", lambda: fleet.visits() > first + 2)
    before, began = fleet.visits(), time.monotonic()
    wait_until("six more pages are fetched", lambda: fleet.visits() >= before + 6)
    seconds = time.monotonic() - began
    assert seconds > 2, f"6 pages in {seconds} s, at 2/s"
    console.direct(f"host {fleet.host} clear")
    console.hears("host", "has no limit any more")
    wait_until("all pages are fetched", lambda: all(fleet.visits(f"/p/{n}") for n in pages))


def pause_a_host_and_free_its_tasks(console, fleet):
    """Pause a host, and resume it without waiting for the delays of its tasks"""
    console.direct(f"host {fleet.host} pause")
    console.hears("host", "gets no requests until")
    time.sleep(2)  # the documented time until all workers follow
    pages = range(200, 205)
    console.publish("list", "\n".join(f"{fleet.site}/p/{number}" for number in pages))
    queues = wait_until(
        "the tasks wait in a retry queue",
        lambda: [
            name
            for name, ready in console.queues().items()
            if name.startswith("fetchline.retry.") and ready not in ("0", "NaN")
        ],
    )
    _, shown = console.messages(queues[0])[0]
    assert "x-until" in shown and "pause" in shown, shown
    assert not any(fleet.visits(f"/p/{n}") for n in pages)
    console.direct(f"host {fleet.host} resume")
    console.hears("host", "gets requests again")
    time.sleep(2)
    for queue in queues:
        console.move(queue, "fetchline.urls")
    began = time.monotonic()
    wait_until("the tasks are fetched", lambda: all(fleet.visits(f"/p/{n}") for n in pages))
    assert time.monotonic() - began < 10, "the tasks have waited for their delay"


def cancel_a_run(console, fleet):
    """Cancel a run"""
    console.direct("pause")
    console.hears("paused")
    wait_until("nothing consumes URLs", lambda: console.consumers("fetchline.urls") == [])
    tasks = [
        json.dumps({"url": f"{fleet.site}/p/{number}", "run": "wrong list"})
        for number in range(300, 320)
    ]
    console.publish("list", "\n".join(tasks))
    console.direct('cancel "wrong list"')
    console.hears("run_cancelled", "wrong list")
    console.direct("resume")
    cancelled = lambda: fleet.outcomes("wrong list").get("cancelled") == 20
    wait_until("the tasks of the run are recorded as cancelled", cancelled)
    assert not any(fleet.visits(f"/p/{n}") for n in range(300, 320))


def replay_some_dead_letters(console, fleet):
    """Replay some dead letters, and leave the others"""
    failing = [f"{fleet.site}/flaky/1/{number}" for number in range(5)]
    missing = [f"{fleet.site}/status/503/{number}" for number in range(3)]
    before = int(console.queues()["fetchline.dead"])
    console.publish("list", "\n".join([*failing, *missing]))
    dead = lambda: int(console.queues()["fetchline.dead"]) - before
    wait_until("the tasks are given up", lambda: dead() == 8)
    console.direct(f"replay host={fleet.host} status=500 limit=2")
    console.hears("replayed", "2 of")
    wait_until("two are fetched", lambda: dead() == 6)
    console.direct("replay status=500")
    console.hears("replayed", "3 of")
    wait_until("the others are fetched", lambda: dead() == 3)
    assert all(fleet.visits(f"/flaky/1/{number}") == 2 for number in range(5))
    # By hand, without a worker that carries it out: "Move messages", whole names.
    console.move("fetchline.dead", "fetchline.urls")
    again = lambda: all(fleet.visits(f"/status/503/{number}") == 2 for number in range(3))
    wait_until("all of them are tried again", again)


def shows_pause(console, pod):
    """Waits until the tag of a worker's consumer says that it is paused."""
    # A tag that the worker has used before ends with a number.
    paused = lambda: any(f"{pod} paused" in tag for tag in console.consumers("fetchline.runs"))
    wait_until(f"the consumer of {pod} says that it is paused", paused)


def pause_and_drain_one_worker(console, fleet):
    """Pause one worker, resume it, and drain the other"""
    console.direct("pause blue-1")
    assert console.hears("paused", "blue-1 take")["pods"] == ["blue-1"]
    only = lambda pod: [tag.split()[0] for tag in console.consumers("fetchline.urls")] == [pod]
    wait_until("only blue-2 consumes", lambda: only("blue-2"))
    shows_pause(console, "blue-1")
    console.direct("resume blue-1")
    console.hears("resumed", "blue-1")
    console.direct("drain blue-2")
    console.hears("draining", "blue-2")
    console.hears("worker_ended", "blue-2")
    wait_until("blue-2 has ended", lambda: fleet.has_ended("blue-2"))
    assert fleet.processes["blue-2"].returncode == 0
    wait_until("only blue-1 consumes", lambda: only("blue-1"))


def read_the_answer(console, _fleet):
    """Mistype a word, and read the answer in the news"""
    console.direct("puase")
    fact = console.hears("refused", "did you mean `pause`?")
    assert fact["typed"] == "puase" and fact["accepted"] is False, fact
    console.screenshot("news", console.message(-2), console.message(-1))
    console.direct("host shop.example fast")
    console.hears("refused", "host NAME N/s|pause|resume|clear")
    console.direct("drain green-7")
    console.hears("refused", "no worker is called green-7; the workers are blue-1")


def tell_paused_from_dead(console, fleet):
    """See whether the fleet is paused or dead"""
    console.direct("pause")
    console.hears("paused", "blue-1 take")
    shows_pause(console, "blue-1")
    console.screenshot("paused", console.section("Consumers"))
    assert console.consumers("fetchline.urls") == []
    console.direct("resume")
    console.direct("drain blue-1")
    console.hears("worker_ended", "blue-1")
    wait_until("no worker is left", lambda: console.consumers("fetchline.runs") == [])
    assert fleet.has_ended("blue-1")


ALL = (
    look_at_the_fleet,
    publish_a_url,
    publish_a_list,
    pause_and_resume_everything,
    set_the_concurrency,
    slow_a_host,
    pause_a_host_and_free_its_tasks,
    cancel_a_run,
    replay_some_dead_letters,
    pause_and_drain_one_worker,
    read_the_answer,
    tell_paused_from_dead,
)
