"""Renders the overlays and components of deploy/kubernetes, and checks what comes of them.

Kubernetes' own kinds are held against its schemas, in every version that deploy/README.md claims; those of operators against
`schemas/`, written down from their documentation. Beside that: what Kubernetes cannot know, since it is about fetchline.
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
KUBECTL = sys.argv[1]
VERSIONS = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]

problems = []


def expect(holds, problem):
    if not holds:
        problems.append(problem)


def render(folder):
    text = subprocess.run([KUBECTL, "kustomize", str(folder)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def with_components(*names):
    """The base with these components, as an overlay of somebody's own would have them."""
    with tempfile.TemporaryDirectory(dir=MANIFESTS) as folder:
        overlay = {"resources": ["../base"], "components": [f"../{name}" for name in names]}
        (pathlib.Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return render(folder)


def validate(where, document):
    kind = f"{document['apiVersion']} {document['kind']}"
    name = f"{where}: {kind} {document['metadata']['name']}"
    schema = HERE / "schemas" / f"{document['kind'].lower()}.json"
    if schema.exists():
        for error in jsonschema.Draft202012Validator(json.loads(schema.read_text())).iter_errors(document):
            problems.append(f"{name}: {error.json_path}: {error.message}")
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{name}: {version}: {'.'.join(map(str, error.path))}: {error.message}")
        except (kubernetes_validate.InvalidSchemaError, kubernetes_validate.SchemaNotFoundError) as error:
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


def check(where, documents):
    for document in documents:
        validate(where, document)
        for pod in pods(document):
            name = f"{where}: {document['kind']} {document['metadata']['name']}"
            if not any(container["image"].split(":")[0].endswith("fetchline") for container in pod["containers"]):
                continue  # a broker or a database of somebody else's
            context = pod["securityContext"]
            expect(context["runAsNonRoot"] and context["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name} is not restricted")
            for container in pod["containers"]:
                own = container["securityContext"]
                restricted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
                expect(own == restricted, f"{name}: {own} is not restricted")
                expect("memory" in container["resources"]["limits"], f"{name} has no limit of memory")
    named = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    # Its name ends in a hash.
    config = next(document["data"] for document in documents if document["kind"] == "ConfigMap")
    flags = set(re.findall(r'env = "(FETCHLINE_[A-Z_]+)"', "".join(path.read_text() for path in (PROJECT / "crates/cli/src").glob("*.rs"))))
    expect(set(config) <= flags, f"{where}: no flag reads {set(config) - flags}")
    worker = named["Deployment", "fetchline-worker"]["spec"]["template"]["spec"]
    grace = seconds(config["FETCHLINE_GRACE"])
    # 5 s: what pipeline.rs allows for the last writes.
    expect(seconds(config["FETCHLINE_TIMEOUT"]) < grace, f"{where}: the grace is no longer than the time-out")
    expect(grace + 5 < worker["terminationGracePeriodSeconds"], f"{where}: pods are killed within their grace")


def check_network():
    """What the worker's guard closes, its network policy closes as well."""
    guard = (PROJECT / "crates/worker/src/guard.rs").read_text()
    segments = lambda numbers: [int(number, 0) for number in numbers.split(",")]
    closed = [f"{'.'.join(map(str, segments(v4)))}/{bits}" for v4, bits in re.findall(r"v4\(\[([^]]*)\], (\d+)\)", guard)]
    closed += [f"{':'.join(f'{n:x}' for n in segments(v6))}/{bits}" for v6, bits in re.findall(r"v6\(\[([^]]*)\], (\d+)\)", guard)]
    expect(len(closed) > 30, "guard.rs: its networks are not found any more")
    policy = next(yaml.safe_load_all((MANIFESTS / "base/network.yaml").read_text()))
    blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule["to"] if "ipBlock" in to]
    for block in blocks:
        open_, excepted = ipaddress.ip_network(block["cidr"]), [ipaddress.ip_network(it) for it in block["except"]]
        for network in map(ipaddress.ip_network, closed):
            # All of IPv6 that is public is in one network, which guard.rs spells in the same way.
            if network.version == open_.version and network != open_ and network.subnet_of(open_):
                inside = any(network.subnet_of(it) for it in excepted)
                expect(inside, f"deploy/kubernetes/base/network.yaml lets workers reach {network}, which guard.rs closes")


def check_copies():
    """What stands twice, since kustomize cannot take it over, is the same."""
    rules = yaml.safe_load((PROJECT / "deploy/prometheus/rules.yml").read_text())
    copy = yaml.safe_load((MANIFESTS / "monitoring/rules.yaml").read_text())["spec"]
    expect(rules == copy, "deploy/kubernetes/monitoring/rules.yaml is not deploy/prometheus/rules.yml")
    cluster = yaml.safe_load((MANIFESTS / "rabbitmq/cluster.yaml").read_text())["spec"]["rabbitmq"]["additionalConfig"]
    # The operator sets the watermark by the pod's limit; definitions come from a secret; what makes a queue whole again is for
    # clusters, and not known to 3.10.
    own = ("definitions.local.path", "vm_memory_high_watermark", "quorum_queue.", "#")
    settings = lambda text: [line for line in text.splitlines() if line and not line.startswith(own)]
    expect(
        settings((PROJECT / "deploy/rabbitmq/rabbitmq.conf").read_text()) == settings(cluster),
        "deploy/kubernetes/rabbitmq/cluster.yaml has other settings than deploy/rabbitmq/rabbitmq.conf",
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
