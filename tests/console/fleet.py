"""A fleet to operate: a broker with the definitions of deploy/rabbitmq, workers, and a site."""

import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pymysql

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILT = pathlib.Path(os.environ["BUILT"])
STATE = pathlib.Path(os.environ["STATE"])
OPERATOR, PASSWORD = "fetchline-operator", "not-a-secret-here"
WORKERS = ("blue-1", "blue-2")
DEADLINE = 40  # seconds


def wait_until(what, probe, deadline=DEADLINE):
    """Waits until the probe returns something true, and returns that."""
    end = time.monotonic() + deadline
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what}")
        time.sleep(0.2)


class Fleet:
    """Workers on a broker and a database of their own, and the sample shop."""

    def __init__(self):
        self.management = os.environ["MANAGEMENT_URL"]
        self.processes = {}
        (STATE / "logs").mkdir(parents=True, exist_ok=True)
        self._import_definitions()
        # A new one for each run: workers remember for a while what they have answered.
        self.database = f"fetchline_console_{os.getpid()}"
        database = urllib.parse.urlsplit(os.environ["DATABASE_URL"])._replace(
            path=f"/{self.database}"
        )
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FETCHLINE_", "OTEL_", "RUST_LOG"))
        } | {
            "DATABASE_URL": database.geturl(),
            "FETCHLINE_ALLOW_NETWORK": "127.0.0.0/8",
            "FETCHLINE_LISTEN": "127.0.0.1:0",
            "FETCHLINE_CONCURRENCY": "20",
            "FETCHLINE_MAX_ATTEMPTS": "1",
        }
        self.fetchline("migrate")
        self.site = self._start_shop()
        for pod in WORKERS:
            self.start_worker(pod)

    def _import_definitions(self):
        text = (PROJECT / "deploy/rabbitmq/definitions.json").read_text()
        definitions = re.sub(r"\$\{\w+\}", PASSWORD, text)
        self.call("POST", "definitions", json.loads(definitions))
        # The console shows it on every page, and its default is the name of this machine.
        self.call("PUT", "cluster-name", {"name": "fetchline"})

    def call(self, method, path, body=None, user="guest:guest"):
        """Calls the management API, to prepare what the operator finds."""
        headers = {
            "content-type": "application/json",
            "authorization": "Basic " + base64.b64encode(user.encode()).decode(),
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.management}/api/{path}", method=method, data=data, headers=headers
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def amqp_url(self, user):
        port = urllib.parse.urlsplit(os.environ["AMQP_URL"]).port
        return f"amqp://{user}:{PASSWORD}@127.0.0.1:{port}/fetchline"

    def _start(self, name, command, environment=None):
        with open(STATE / "logs" / f"{name}.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, env=environment or self.environment, stdout=log, stderr=log
            )
        self.processes[name] = process
        return process

    def _start_shop(self):
        port_file = STATE / "shop.port"
        port_file.unlink(missing_ok=True)
        process = self._start("shop", [BUILT / "shop", "--port-file", port_file])
        wait_until("the shop listens", lambda: port_file.exists() or process.poll())
        return f"http://{port_file.read_text()}"

    @property
    def host(self):
        return self.site.removeprefix("http://")

    def start_worker(self, pod):
        command = [BUILT / "fetchline", "work", "--amqp-url", self.amqp_url("fetchline-worker")]
        self._start(pod, command, self.environment | {"FETCHLINE_POD": pod})

    def fetchline(self, *arguments):
        """Runs a command, and returns what it prints."""
        command = [BUILT / "fetchline", *arguments, "--amqp-url", self.amqp_url(OPERATOR)]
        result = subprocess.run(
            command, env=self.environment, check=False, capture_output=True, text=True, timeout=60
        )
        if result.returncode != 0:
            raise AssertionError(f"fetchline {arguments}: {result.returncode} {result.stderr}")
        return result.stdout

    def outcomes(self, run):
        """The number of rows of a run by outcome."""
        try:
            return json.loads(self.fetchline("status", "--run", run, "--json"))["run"]["outcomes"]
        except AssertionError:
            return {}  # no worker has heard of the run yet

    def visits(self, path=None):
        """How often the site was visited, or one of its pages."""
        query = "" if path is None else "?" + urllib.parse.urlencode({"path": path})
        with urllib.request.urlopen(f"{self.site}/-/visits{query}", timeout=10) as answer:
            visits = json.load(answer)
        return visits["total"] if path is None else visits["visits"]

    def has_ended(self, pod):
        return self.processes[pod].poll() is not None

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for name, process in self.processes.items():
            try:
                process.wait(timeout=45)
            except subprocess.TimeoutExpired:
                process.kill()
                print(f"{name} did not end by itself")
        self._drop_database()

    def _drop_database(self):
        server = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
        connection = pymysql.connect(
            host=server.hostname,
            port=server.port or 3306,
            user=urllib.parse.unquote(server.username or "root"),
            password=urllib.parse.unquote(server.password or ""),
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{self.database}`")
