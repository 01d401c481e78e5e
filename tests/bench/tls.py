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


def page():
    """A product page with its product as JSON-LD."""
    product = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": "Assam tea",
        "sku": "tea-17",
        "offers": {"@type": "Offer", "price": "12.99", "priceCurrency": "EUR"},
    }
    script = f'<script type="application/ld+json">{json.dumps(product)}</script>'
    parts = [f"<!doctype html><title>Tea</title>{script}"]
    size, words = len(parts[0]), random.Random(17)
    while size < PAGE_BYTES:
        text = " ".join(f"word{words.randrange(4_000)}" for _ in range(12))
        parts.append(f'<div class="card"><a href="/p/{size}">{text}</a></div>\n')
        size += len(parts[-1])
    return "".join(parts).encode()


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
    root {FOLDER}; gzip_static always; location / {{ try_files /page.html =404; }}
  }}"""


def prepare():
    """The part of nginx's configuration that serves the zone; writes the files that it needs."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    certify()
    (FOLDER / "page.html").write_bytes(page())
    (FOLDER / "page.html.gz").write_bytes(gzip.compress(page(), 6))
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


def pages_of(hosts, port, count):
    return [f"https://h{n % hosts}.{ZONE}:{port}/{n}" for n in range(count)]


def tls(full):
    size = 3 if full else 1
    trusting = "--ca", str(AUTHORITY)
    sides = [
        ("fetchline", lambda: ours(100, *trusting), 1),
        (BARE, lambda: bare(100, "--batch", "20", *trusting), 1),
        ("asyncio", lambda: asyncio_side(100, "--batch", "20", *trusting), 4),
    ]
    rows, shares = [], {}
    for hosts in (50, 2_000):
        for port, kept in ((KEPT_PORT, "kept"), (CLOSED_PORT, "closed")):
            for name, side, part in sides:
                pages = pages_of(hosts, port, 8_000 * size // part)
                resumed()
                rounds = Rounds([(name, side(), pages)], nginx_visits, rounds=1)
                result, shares[name, hosts, kept] = rounds.medians()[name], resumed()
                rows.append(
                    (
                        f"{name}, {hosts:,} hosts, connections {kept}",
                        f"{result['rate']:,.0f}",
                        f"{result['cpu']:,.0f}",
                        f"{result['peak']:,.0f}",
                        f"{shares[name, hosts, kept]:.0%}",
                        f"{result['files']:,.0f}",
                    )
                )
    pages = pages_of(5_000, KEPT_PORT, 15_000 * size)
    many = Rounds([("many", ours(100, *trusting), pages)], nginx_visits, rounds=1)
    result = many.medians()["many"]
    rows.append(
        (
            "fetchline, 5,000 hosts, connections kept",
            f"{result['rate']:,.0f}",
            f"{result['cpu']:,.0f}",
            f"{result['peak']:,.0f}",
            f"{resumed():.0%}",
            f"{result['files']:,.0f}",
        )
    )
    table(
        "327 kB of HTML over TLS",
        "nginx serves the page with gzip, and its product as JSON-LD, at many hosts of one "
        "address. It keeps connections, or closes each one after its answer. Handshakes that "
        "resume a session are counted at nginx, open files at the worker. Measured once.",
        ("", "URLs/s", "CPU µs/URL", "peak MiB", "resumed", "open files"),
        rows,
    )
    share = shares["fetchline", 2_000, "closed"]
    on = "2,000 hosts over TLS, connections closed"
    # Each host is met for the first time once.
    possible = 1 - 2_000 / (8_000 * size)
    wanted = "90 % of the reconnects resume a session"
    goal(on, wanted, f"{share / possible:.0%}", share >= 0.9 * possible)
    on = "5,000 hosts over TLS, connections kept"
    goal(on, "at most 2,500 open files", f"{result['files']:,.0f}", result["files"] <= 2_500)
