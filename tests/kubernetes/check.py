"""Renders the overlays and components of deploy/kubernetes and checks the manifests.

Manifests of Kubernetes' own kinds must match its schemas, in every version that docs/deployment.md
claims. Those of operators must match `schemas/`, which were written from their documentation. The
remaining checks are about fetchline, which Kubernetes knows nothing about.
"""

import ipaddress
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
MANIFESTS = PROJECT / "deploy" / "kubernetes"
GUARD = next((PROJECT / "crates/worker/src").rglob("guard.rs"))
KUBECTL = sys.argv[1]
VERSIONS = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]

problems = []


def expect(holds, problem):
    if not holds:
        problems.append(problem)


def render(folder):
    command = [KUBECTL, "kustomize", str(folder)]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def with_components(*names):
    """Renders the base with these components, as in an overlay of a user."""
    with tempfile.TemporaryDirectory(dir=MANIFESTS) as folder:
        overlay = {"resources": ["../base"], "components": [f"../{name}" for name in names]}
        (pathlib.Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return render(folder)


def validate(where, document):
    kind = f"{document['apiVersion']} {document['kind']}"
    name = f"{where}: {kind} {document['metadata']['name']}"
    schema = HERE / "schemas" / f"{document['kind'].lower()}.json"
    if schema.exists():
        validator = jsonschema.Draft202012Validator(json.loads(schema.read_text()))
        for error in validator.iter_errors(document):
            problems.append(f"{name}: {error.json_path}: {error.message}")
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(map(str, error.path))
            problems.append(f"{name}: {version}: {path}: {error.message}")
        except (
            kubernetes_validate.InvalidSchemaError,
            kubernetes_validate.SchemaNotFoundError,
        ) as error:
            problems.append(f"{name}: {version}: {error}")


def pods(document):
    """The pod specifications of a document."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if document["kind"] in ("Deployment", "Job", "CronJob"):
        yield spec["template"]["spec"]


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def is_fetchline(container):
    return container["image"].split(":")[0].endswith("fetchline")


def check_pod(name, pod):
    """Checks that a pod of fetchline is restricted and bounded."""
    if not any(map(is_fetchline, pod["containers"])):
        return  # a broker or a database
    context = pod["securityContext"]
    profile = context["seccompProfile"] == {"type": "RuntimeDefault"}
    expect(context["runAsNonRoot"] and profile, f"{name} is not restricted")
    restricted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for container in pod["containers"]:
        own = container["securityContext"]
        expect(own == restricted, f"{name}: {own} is not restricted")
        expect("memory" in container["resources"]["limits"], f"{name} has no memory limit")


def known_variables():
    """The environment variables of the command line."""
    sources = (PROJECT / "crates/cli/src").rglob("*.rs")
    text = "".join(path.read_text() for path in sources)
    return set(re.findall(r'env = "(FETCHLINE_[A-Z_]+)"', text))


def check(where, documents):
    for document in documents:
        validate(where, document)
        for pod in pods(document):
            check_pod(f"{where}: {document['kind']} {document['metadata']['name']}", pod)
    named = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    # The name of the ConfigMap ends in a hash.
    config = next(document["data"] for document in documents if document["kind"] == "ConfigMap")
    unknown = set(config) - known_variables()
    expect(not unknown, f"{where}: no flag reads {unknown}")
    worker = named["Deployment", "fetchline-worker"]["spec"]["template"]["spec"]
    grace = seconds(config["FETCHLINE_GRACE"])
    timeout = seconds(config["FETCHLINE_TIMEOUT"])
    expect(timeout < grace, f"{where}: the grace is not longer than the time-out")
    # 5 s is the time that a draining worker has for its last writes after the grace.
    killed_after = worker["terminationGracePeriodSeconds"]
    expect(grace + 5 < killed_after, f"{where}: pods are killed within their grace")


def blocked_networks():
    """The networks that the worker's guard blocks, from its source."""
    guard = GUARD.read_text()

    def networks(kind):
        for numbers, bits in re.findall(kind + r"\(\[([^]]*)\], (\d+)\)", guard):
            yield [int(number, 0) for number in numbers.split(",")], bits

    v4 = [f"{'.'.join(map(str, octets))}/{bits}" for octets, bits in networks("v4")]
    v6 = [f"{':'.join(f'{n:x}' for n in segments)}/{bits}" for segments, bits in networks("v6")]
    return [ipaddress.ip_network(network) for network in v4 + v6]


def check_network():
    """Checks that the worker's network policy excludes what its guard blocks."""
    blocked = blocked_networks()
    expect(len(blocked) > 30, f"cannot find the blocked networks in {GUARD}")
    policy = next(yaml.safe_load_all((MANIFESTS / "base/network.yaml").read_text()))
    targets = [to for rule in policy["spec"]["egress"] for to in rule["to"] if "ipBlock" in to]
    for block in (to["ipBlock"] for to in targets):
        allowed = ipaddress.ip_network(block["cidr"])
        excepted = [ipaddress.ip_network(network) for network in block["except"]]
        for network in blocked:
            # All public IPv6 addresses are in one network, which the guard's source contains, too.
            if network.version != allowed.version or network == allowed:
                continue
            if network.subnet_of(allowed):
                expect(
                    any(network.subnet_of(exception) for exception in excepted),
                    f"base/network.yaml lets workers reach {network}, which the guard blocks",
                )


def check_copies():
    """Checks that files which kustomize cannot share between folders are equal."""
    rules = yaml.safe_load((PROJECT / "deploy/prometheus/rules.yml").read_text())
    copy = yaml.safe_load((MANIFESTS / "monitoring/rules.yaml").read_text())["spec"]
    expect(
        rules == copy, "deploy/kubernetes/monitoring/rules.yaml is not deploy/prometheus/rules.yml"
    )
    cluster = yaml.safe_load((MANIFESTS / "rabbitmq/cluster.yaml").read_text())
    config = cluster["spec"]["rabbitmq"]["additionalConfig"]
    # The operator sets the watermark from the pod's limit, and definitions come from a secret. The
    # repair of quorum queues is for clusters, and RabbitMQ 3.10 does not know it.
    own = ("definitions.local.path", "vm_memory_high_watermark", "quorum_queue.", "#")

    def settings(text):
        return [line for line in text.splitlines() if line and not line.startswith(own)]

    expect(
        settings((PROJECT / "deploy/rabbitmq/rabbitmq.conf").read_text()) == settings(config),
        "the settings of kubernetes/rabbitmq/cluster.yaml are not those of rabbitmq/rabbitmq.conf",
    )


rendered = {
    "local": render(MANIFESTS / "overlays/local"),
    "production": render(MANIFESTS / "overlays/production"),
    "hpa": with_components("hpa"),
}
for where, documents in rendered.items():
    check(where, documents)
check_network()
check_copies()
for problem in problems:
    print(problem, file=sys.stderr)
count = sum(map(len, rendered.values()))
print(f"{count} manifests, Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}: {len(problems)} problems")
sys.exit(bool(problems))
