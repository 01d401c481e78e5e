"""Pages over TLS: an origin with many hosts, and the section that measures it."""

import gzip
import json
import random
import shutil
import subprocess

from ground import STATE, nginx_visits
from report import goal, table
from sides import Rounds, asyncio_side, bare, ours

KEPT_PORT, CLOSED_PORT = 18482, 18483
# fetchline resolves names below `localhost` by itself; the other sides resolve all names so.
ZONE = "shop.localhost"
FOLDER = STATE / "tls"
AUTHORITY, HANDSHAKES = FOLDER / "ca.pem", FOLDER / "handshakes.log"
PAGE_BYTES = 327_000
BARE = "lapin + reqwest + sqlx, bare"


def page(is_complete):
    """A product page with its product as JSON-LD, described completely or in part."""
    offer = {"@type": "Offer", "price": "12.99", "priceCurrency": "EUR"}
    product = {"@context": "https://schema.org", "@type": "Product", "name": "Assam tea"}
    product |= {"sku": "tea-17", "offers": offer}
    if is_complete:
        offer["availability"] = "https://schema.org/InStock"
        product |= {"brand": "Leaf", "image": "/tea.jpg", "category": "Tea > Black"}
    script = f'<script type="application/ld+json">{json.dumps(product)}</script>'
    head = f"<title>Assam tea</title><link rel=canonical href=/tea>{script}"
    parts = [f"<!doctype html><html><head>{head}</head><body><h1>Assam tea</h1>"]
    size, words = len(parts[0]), random.Random(17)
    while size < PAGE_BYTES:
        text = " ".join(f"word{words.randrange(4_000)}" for _ in range(12))
        parts.append(f'<div class="card"><a href="/p/{size}">{text}</a></div>\n')
        size += len(parts[-1])
    return "".join([*parts, "</body></html>"]).encode()


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], cwd=FOLDER, check=True, capture_output=True)


def certify():
    """Makes an authority, and a certificate for all hosts of the zone."""
    (FOLDER / "names").write_text(
        f"subjectAltName=DNS:{ZONE},DNS:*.{ZONE}\nbasicConstraints=CA:FALSE\n"
    )
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    authority = ["-x509", "-days", "30", "-keyout", "ca-key.pem", "-out", "ca.pem"]
    openssl("req", *key, *authority, "-subj", "/CN=bench")
    openssl("req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", f"/CN={ZONE}")
    sign = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-extfile", "names"]
    openssl("x509", "-req", "-in", "request.pem", "-out", "cert.pem", "-days", "30", *sign)


def server(port, keepalive):
    return f"""
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096; server_name *.{ZONE}; keepalive_timeout {keepalive};
    ssl_certificate {FOLDER}/cert.pem; ssl_certificate_key {FOLDER}/key.pem;
    access_log {HANDSHAKES} handshake if=$is_first;
    root {FOLDER}; gzip_static always;
    location / {{ try_files /whole.html =404; }}
    location /part/ {{ try_files /part.html =404; }}
  }}"""


def prepare():
    """The part of nginx's configuration that serves the zone; writes the files that it needs."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    certify()
    for name, is_complete in (("whole.html", True), ("part.html", False)):
        (FOLDER / name).write_bytes(page(is_complete))
        (FOLDER / f"{name}.gz").write_bytes(gzip.compress(page(is_complete), 6))
    return f"""
  log_format handshake "$ssl_session_reused";
  map $connection_requests $is_first {{ 1 1; default 0; }}
{server(KEPT_PORT, "60s")}{server(CLOSED_PORT, "0")}"""


def resumed():
    """The share of handshakes since the last call that resumed a session, or none if none did."""
    handshakes = HANDSHAKES.read_text().split()
    with open(HANDSHAKES, "w"):
        pass  # nginx appends
    return handshakes.count("r") / len(handshakes) if handshakes else 0


def pages_of(hosts, port, count, folder=""):
    return [f"https://h{n % hosts}.{ZONE}:{port}/{folder}{n}" for n in range(count)]


def tls(full):
    size = 3 if full else 1
    trusting = "--ca", str(AUTHORITY)
    sides = {
        "fetchline": lambda: ours(100, *trusting),
        BARE: lambda: bare(100, "--batch", "20", *trusting),
        "asyncio": lambda: asyncio_side(100, "--batch", "20", *trusting),
    }
    rows = []

    def add(name, result, share=None):
        figures = [f"{result[figure]:,.0f}" for figure in ("rate", "cpu", "faults", "peak")]
        rows.append((name, *figures, "" if share is None else f"{share:.0%}"))

    kept = pages_of(50, KEPT_PORT, 6_000 * size)
    part = pages_of(50, KEPT_PORT, 6_000 * size, "part/")
    pairs = Rounds(
        [
            ("fetchline", sides["fetchline"](), kept),
            (BARE, sides[BARE](), kept),
            ("fetchline, product in part", sides["fetchline"](), part),
            ("asyncio", sides["asyncio"](), kept[: 2_000 * size]),
        ],
        nginx_visits,
    )
    for name, result in pairs.medians().items():
        add(f"{name}, 50 hosts, connections kept", result)

    def once(name, side, hosts, port, count):
        resumed()
        pages = pages_of(hosts, port, count * size)
        result = Rounds([(name, side(), pages)], nginx_visits, rounds=1).medians()[name]
        share = resumed()
        state = "kept" if port == KEPT_PORT else "closed"
        add(f"{name}, {hosts:,} hosts, connections {state}", result, share)
        return result, share

    closed = {}
    for hosts in (50, 2_000):
        for name, side in sides.items():
            count = 2_000 if name == "asyncio" else 6_000
            closed[name, hosts] = once(name, side, hosts, CLOSED_PORT, count)
    many, _ = once("fetchline", sides["fetchline"], 5_000, KEPT_PORT, 15_000)
    table(
        "327 kB of HTML over TLS",
        "nginx serves the page with gzip at many hosts of one address. The JSON-LD in its head "
        "describes the product completely, or in part: without image, brand, category and "
        "availability, which are then searched for in the body. nginx keeps connections, or "
        "closes each one after its response; it counts the handshakes that resume a session. "
        "Connections kept at 50 hosts: medians of the rounds; all else is measured once.",
        ("", "URLs/s", "CPU µs/URL", "page faults/URL", "peak MiB", "resumed"),
        rows,
    )
    on = "327 kB HTML over TLS, product stored"
    over = pairs.ratio("cpu", "fetchline", BARE)
    goal(on, "at most 1.3 times the bare loop's CPU per URL", f"{over:.2f}", over <= 1.3)
    ours_kept = pairs.medians()["fetchline"]
    faults, peak = ours_kept["faults"], ours_kept["peak"]
    goal(on, "under 20 page faults per URL", f"{faults:.0f}", faults < 20)
    goal(on, "peak memory under 150 MiB", f"{peak:.0f} MiB", peak < 150)
    result, share = closed["fetchline", 2_000]
    on = "2,000 hosts over TLS, connections closed"
    # Each host is met for the first time once.
    possible = 1 - 2_000 / (6_000 * size)
    wanted = "90 % of the reconnects resume a session"
    goal(on, wanted, f"{share / possible:.0%}", share >= 0.9 * possible)
    on = "5,000 hosts over TLS, connections kept"
    goal(on, "at most 2,500 open files", f"{many['files']:,.0f}", many["files"] <= 2_500)
