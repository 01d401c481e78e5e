"""The environment of the trials: the origins of the pages, the broker and the database."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.request

import pymysql
from pymysql.constants.ER import NO_SUCH_TABLE
from yarl import URL

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
STATE = PROJECT / ".local/bench"
BUILT = pathlib.Path(os.environ["BUILT"])
DATABASE = URL(os.environ["DATABASE_URL"]).with_path("/fetchline_bench")
VIRTUAL_HOST = URL(os.environ["AMQP_URL"]).raw_path[1:] or "%2f"
PREFIX = "bench"
QUEUE = f"{PREFIX}.urls"
if not os.environ.get("MANAGEMENT_URL"):
    sys.exit("MANAGEMENT_URL is not set: the broker's management API is needed to empty queues")
NGINX_PORT, SHOP_PORT = 18480, 18481
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("FETCHLINE_", "OTEL_", "RUST_LOG"))
} | {
    "DATABASE_URL": str(DATABASE),
    "FETCHLINE_PREFIX": PREFIX,
    "FETCHLINE_ALLOW_NETWORK": "127.0.0.0/8",
}


def padded(fields):
    """380 bytes of JSON; the last field, an empty string, takes the padding."""
    body = json.dumps(fields)
    return body[:-2] + "x" * (380 - len(body)) + body[-2:]


STOCK_LEVEL = padded(
    {"id": 17, "warehouse": "Leipzig", "quantity": 1299, "reserved": 12, "note": ""}
)
# fetchline extracts the product and stores it as an item.
PRODUCT = padded({"id": 17, "name": "Tea", "price": "12.99", "currency": "EUR", "description": ""})


def processors():
    """Ticks of all processors since the machine started: in total, idle, and stolen by its host."""
    first_line = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0]
    ticks = [int(field) for field in first_line.split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4], ticks[7]


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


# --- Origins ---


def start_nginx(page, servers):
    folder = STATE / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "page.html").write_bytes(page)
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; error_log {folder}/error.log; pid {folder}/pid;
events {{ worker_connections 20000; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000; default_type text/html;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{NGINX_PORT};
    location /json/ {{ default_type application/json; return 200 '{STOCK_LEVEL}'; }}
    location /product/ {{ default_type application/json; return 200 '{PRODUCT}'; }}
    location /html/ {{ root {folder}; charset utf-8; try_files /page.html =404; }}
    location /bytes/ {{
      root {folder}; default_type application/octet-stream; types {{ }} try_files /page.html =404;
    }}
    location /status {{ stub_status; }}
  }}
{servers}
}}
""")
    return subprocess.Popen(
        ["/usr/sbin/nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
    )


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


status_requests = 0


def nginx_visits():
    """How many requests nginx has received, without those of this function."""
    global status_requests
    status_requests += 1
    # The headings "server accepts handled requests" precede the numbers.
    return int(get(f"http://127.0.0.1:{NGINX_PORT}/status").split()[9]) - status_requests


def answer_of(process, url):
    """The answer of a URL, once the process serves it."""
    for _ in range(100):
        try:
            return get(url)
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"nothing serves {url}: check whether another process uses its port")


def shop_visits():
    return json.loads(get(f"http://127.0.0.1:{SHOP_PORT}/-/visits?top=0"))["total"]


# --- Broker and database ---


def sql(statement):
    where = {"host": DATABASE.host, "port": DATABASE.port, "database": DATABASE.path.strip("/")}
    connection = pymysql.connect(**where, user=DATABASE.user, password=DATABASE.password or "")
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()
        row = cursor.fetchone()
        return row[0] if row else None


def fetchline(*arguments, **options):
    return subprocess.run(
        [BUILT / "fetchline", *arguments],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
        **options,
    )


def create_database():
    server = pymysql.connect(
        host=DATABASE.host,
        port=DATABASE.port,
        user=DATABASE.user,
        password=DATABASE.password or "",
    )
    with server, server.cursor() as cursor:
        cursor.execute("CREATE DATABASE IF NOT EXISTS fetchline_bench")
    fetchline("migrate")


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


def make_queues():
    fetchline("work", "--listen", "off", "--until-empty", timeout=60)


def empty_retry_queues():
    """Removes deferred messages, which would return in the middle of another trial."""
    queues = json.loads(broker_api("GET", f"queues/{VIRTUAL_HOST}?columns=name"))
    for name in (queue["name"] for queue in queues):
        if name.startswith(f"{PREFIX}.retry."):
            broker_api("DELETE", f"queues/{VIRTUAL_HOST}/{name}/contents")


def clear():
    # Unacked messages of a side that has just ended return to the queue first.
    time.sleep(0.2)
    empty_retry_queues()
    while queue_ready() > 0:
        broker_api("DELETE", f"queues/{VIRTUAL_HOST}/{QUEUE}/contents")
        time.sleep(0.2)
    for table in ("fetches", "bare", "run_counts", "runs", "items", "price_history", "pages"):
        try:
            sql(f"TRUNCATE TABLE {table}")
        except pymysql.err.ProgrammingError as error:
            if error.args[0] != NO_SUCH_TABLE:
                raise  # a missing table belongs to a side that has not run yet
