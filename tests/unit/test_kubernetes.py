"""deploy/kubernetes says nothing that our programs, or its own files, do not know. Nothing here runs it."""

import re
import shutil
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.settings import PREFIX, Settings, load_settings
from model.encoder import load_encoder
from stack.jars import ROOT
from topics.topic import _wanted_configs
from workers.__main__ import VERBS

FOLDER = ROOT / "deploy" / "kubernetes"
# Made by whoever installs, as docs/deploy.md says, or by an operator.
SECRETS = {
    "cassandra-passwords": {"admin", "api", "audit", "embedder", "indexer", "watcher"},
    "lookalike-keys": {"keys.json"},
    "lookalike-cluster-ca-cert": {"ca.crt"},
    "lookalike-superuser": {"username", "password"},
    "scaler-name": {"username"},
}
ROUTES = set(re.findall(r'^    "(/[^"]*)": \{$', (ROOT / "web/src/api/schema.d.ts").read_text(), re.MULTILINE))
PROGRAMS = {"api serve": "api", **{f"workers {verb.name}": verb.name for verb in VERBS}}


def read(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """All objects, of the files that kustomization.yaml names."""
    named = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(named) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml") if path.name != "kustomization.yaml"
    )
    return [each for name in named for each in yaml.safe_load_all((folder / name).read_text())]


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return read()


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] in kinds]


def workloads(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return of_kind(objects, "Deployment", "StatefulSet", "Job")


def containers(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Of each workload its name, the pod's spec and a container."""
    for each in workloads(objects):
        spec = each["spec"]["template"]["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{each['metadata']['name']}/{container['name']}", spec, container


def environment(objects: list[dict[str, Any]], container: dict[str, Any]) -> dict[str, str]:
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(objects, "ConfigMap")}
    told: dict[str, str] = {}
    for source in container.get("envFrom", []):
        told |= maps[source["configMapRef"]["name"]]
    return told | {each["name"]: each["value"] for each in container.get("env", [])}


def faults(objects: list[dict[str, Any]]) -> list[str]:
    """What an API server or a program would stumble over."""
    found = []
    made = {each["metadata"]["name"]: {"password"} for each in of_kind(objects, "KafkaUser")} | SECRETS
    for name, spec, container in containers(objects):
        found += [f"{name}: {what}" for what in _faults_of(objects, spec, container, made)]
    pods = [each["spec"]["template"] for each in workloads(objects)]
    labels = [pod["metadata"]["labels"] for pod in pods]
    for each in of_kind(objects, "Deployment", "StatefulSet"):
        if each["spec"]["selector"]["matchLabels"] != each["spec"]["template"]["metadata"]["labels"]:
            found.append(f"{each['metadata']['name']} selects other pods than its own")
    for each in of_kind(objects, "Service", "PodDisruptionBudget", "NetworkPolicy"):
        wanted = each["spec"].get("podSelector") or each["spec"]["selector"]
        wanted = wanted.get("matchLabels", wanted)
        if not any(wanted.items() <= own.items() for own in labels) and not _is_of_servers(objects, wanted):
            found.append(f"{each['kind']} {each['metadata']['name']} selects nothing")
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    found += [
        f"{each['metadata']['name']} has no service {each['spec']['serviceName']}"
        for each in of_kind(objects, "StatefulSet")
        if ("Service", each["spec"]["serviceName"]) not in names
    ]
    for each in of_kind(objects, "ScaledObject"):
        if ("Deployment", each["spec"]["scaleTargetRef"]["name"]) not in names:
            found.append("what is scaled is not there")
    for each in of_kind(objects, "TriggerAuthentication"):
        found += [
            f"no secret {reference['name']} with {reference['key']}"
            for reference in each["spec"]["secretTargetRef"]
            if reference["key"] not in made.get(reference["name"], ())
        ]
    return found


def _is_of_servers(objects: list[dict[str, Any]], labels: dict[str, str]) -> bool:
    """Whether operators make pods with this label."""
    clusters = {each["metadata"]["name"] for each in of_kind(objects, "K8ssandraCluster")}
    return set(labels) == {"cassandra.datastax.com/cluster"} and set(labels.values()) <= clusters


def _faults_of(
    objects: list[dict[str, Any]], spec: dict[str, Any], container: dict[str, Any], made: dict[str, set[str]]
) -> Iterator[str]:
    told = environment(objects, container)
    fields = {name.removeprefix(PREFIX).lower(): value for name, value in told.items()}
    unknown = [name for name in fields if name not in Settings.model_fields]
    yield from (f"sets {PREFIX}{name.upper()}" for name in unknown)
    if "args" in container and not unknown:
        if (program := " ".join(container["args"])) not in PROGRAMS:
            yield f"runs {program}"
        load_settings(**fields)
        port = fields.get("api_port") or next((v for k, v in fields.items() if k.endswith("_metrics_port")), "")
        if [int(port)] != [each["containerPort"] for each in container["ports"]]:
            yield f"listens on {port}, and says otherwise"
    yield from _faults_of_probes(container)
    files = set()
    for fault, file in _mounted(spec, container, made):
        files.add(file)
        if fault:
            yield fault
    yield from (
        f"{name} is not mounted" for name, file in fields.items() if name.endswith("_file") and file not in files
    )


def _faults_of_probes(container: dict[str, Any]) -> Iterator[str]:
    ports = {each["name"]: each["containerPort"] for each in container.get("ports", [])}
    routes = ROUTES if "http" in ports else {"/metrics"}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container.get(kind, {}).get("httpGet")
        if asked and (asked["port"] not in ports or asked["path"] not in routes):
            yield f"is asked for {asked['path']} at {asked['port']}"
        text = "".join(container.get(kind, {}).get("exec", {}).get("command", []))
        if text and f":{next(iter(ports.values()))}/metrics" not in text:
            yield "is asked at another port"


def _mounted(spec: dict[str, Any], container: dict[str, Any], made: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Faults and the files that a container finds; each may be ""."""
    volumes: dict[str, Any] = {each["name"]: each for each in spec.get("volumes", [])} | {"index": {}}
    for mount in container["volumeMounts"]:
        volume, folder = volumes.get(mount["name"]), mount["mountPath"]
        if volume is None:
            yield f"mounts {mount['name']}", ""
            continue
        for secret, item in _items(volume, made):
            is_there = item["key"] in made.get(secret, ())
            yield "" if is_there else f"needs {item['key']} of the secret {secret}", f"{folder}/{item['path']}"


def _items(volume: dict[str, Any], made: dict[str, set[str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Secrets and what is taken of each; without items that is all of it."""
    for source in volume.get("projected", {}).get("sources", []):
        yield from ((source["secret"]["name"], item) for item in source["secret"]["items"])
    if "secret" in volume:
        name = volume["secret"]["secretName"]
        every = [{"key": key, "path": key} for key in made.get(name, ())]
        yield from ((name, item) for item in volume["secret"].get("items", every))


def test_nothing_names_what_is_not_there(objects: list[dict[str, Any]]) -> None:
    assert faults(objects) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("settings.yaml", "LOOKALIKE_ENCODER", "LOOKALIKE_ENCODERS", "sets LOOKALIKE_ENCODERS"),
        ("embedder.yaml", "[workers, embedder]", "[workers, embed]", "runs workers embed"),
        ("embedder.yaml", 'value: "9101"', 'value: "9111"', "listens on 9111"),
        ("embedder.yaml", "127.0.0.1:9101", "127.0.0.1:9102", "is asked at another port"),
        ("machine.yaml", "path: /readyz", "path: /healthz", "is asked for /healthz"),
        ("machine.yaml", "secretName: lookalike-keys", "secretName: keys", "needs keys.json of the secret keys"),
        ("machine.yaml", "mountPath: /etc/lookalike/keys", "mountPath: /etc/keys", "keys_file is not mounted"),
        ("keeper.yaml", "{key: watcher,", "{key: watchers,", "needs watchers of the secret cassandra-passwords"),
        ("service.yaml", "name: machine\n    app.kubernetes.io/part-of", "name: api\n    app.kubernetes.io/part-of", "selects nothing"),
        ("scaling.yaml", "name: embedder\n  min", "name: embedders\n  min", "what is scaled is not there"),
        ("scaling.yaml", "key: username", "key: user", "no secret scaler-name with user"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_noticed(tmp_path: Path, file: str, old: str, new: str, fault: str) -> None:
    shutil.copytree(FOLDER, folder := tmp_path / "kubernetes")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    assert any(fault in found for found in faults(read(folder)))


def test_our_programs_run_with_as_little_as_they_need(objects: list[dict[str, Any]]) -> None:
    for name, spec, container in containers(objects):
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 10001, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec["automountServiceAccountToken"]
        own = container["securityContext"]
        assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False), name
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
        assert container["image"] in ("lookalike", "cassandra:5.0.8"), name
        assert "livenessProbe" in container or name.startswith("setup/"), name
        writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert set(writable) <= {"/tmp", "/var/lib/lookalike/index"}, name


def test_topics_and_users_are_those_that_our_programs_make_and_need(objects: list[dict[str, Any]]) -> None:
    settings = load_settings(
        **{
            n.removeprefix(PREFIX).lower(): v
            for n, v in _shared(objects).items()
            if "KAFKA_S" not in n and "_FILE" not in n
        }
    )
    topics = {each["spec"]["topicName"]: each["spec"] for each in of_kind(objects, "KafkaTopic")}
    hours = {
        settings.kafka_topic: settings.kafka_retention_hours,
        settings.rejected_topic: settings.kafka_retention_hours,
    }
    assert topics.keys() == {*hours, settings.matches_topic}
    for name, topic in topics.items():
        wanted = _wanted_configs(hours.get(name, settings.matches_retention_hours))
        assert {key: topic["config"][key] for key in wanted} == wanted
        assert topic["partitions"] == (settings.kafka_partitions if name in hours else 1)
    granted = {
        (user["metadata"]["name"], operation, rule["resource"]["type"], rule["resource"]["name"], rule["resource"]["patternType"])
        for user in of_kind(objects, "KafkaUser")
        for rule in user["spec"].get("authorization", {}).get("acls", [])
        for operation in rule["operations"]
    }  # fmt: skip
    names = {"topic": settings.kafka_topic, "keyspace": settings.cassandra_keyspace}
    lines = string.Template((ROOT / "stack" / "conf" / "kafka-acls").read_text()).substitute(names).splitlines()
    needed = set()
    for user, operation, kind, name, *pattern in (line.split() for line in lines if line and not line.startswith("#")):
        told = "".join(word.capitalize() for word in operation.split("_"))
        needed.add((user, told, kind, name, "prefix" if pattern else "literal"))
    assert {rule for rule in granted if rule[0] != "scaler"} == needed
    assert {operation for user, operation, *_ in granted if user == "scaler"} == {"Describe"}


def test_roles_are_those_of_a_secured_stack() -> None:
    ours = (ROOT / "stack" / "conf" / "cassandra-roles.cql").read_text().replace("$keyspace", "lookalike")
    assert (FOLDER / "setup" / "roles.cql").read_text() == ours


def test_embedders_are_counted_by_how_far_their_own_group_is_behind(objects: list[dict[str, Any]]) -> None:
    shared = _shared(objects)
    fingerprint = load_encoder(shared["LOOKALIKE_ENCODER"], load_settings().encoders_dir).fingerprint
    (scaled,) = of_kind(objects, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["consumerGroup"] == f"lookalike-{shared['LOOKALIKE_CASSANDRA_KEYSPACE']}-{fingerprint}"
    assert scaled["spec"]["maxReplicaCount"] == int(shared["LOOKALIKE_KAFKA_PARTITIONS"])


def test_there_is_one_watcher_and_one_audit(objects: list[dict[str, Any]]) -> None:
    for program in ("watcher", "audit"):
        (found,) = [
            each for each in workloads(objects)
            if any(one.get("args") == ["workers", program] for one in each["spec"]["template"]["spec"]["containers"])
        ]  # fmt: skip
        assert (found["kind"], found["spec"]["replicas"]) == ("StatefulSet", 1)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_renders_all_of_it(objects: list[dict[str, Any]]) -> None:
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    assert len(rendered) == len(objects) + 1  # the roles
    assert all(each["metadata"].get("namespace", "lookalike") == "lookalike" for each in rendered)


def _shared(objects: list[dict[str, Any]]) -> dict[str, str]:
    (found,) = of_kind(objects, "ConfigMap")
    data: dict[str, str] = found["data"]
    return data
