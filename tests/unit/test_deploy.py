"""What lies in deploy/ fits what the package has: nothing watches a metric that does not exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from corpus import REPOSITORY
from prometheus_client.parser import text_string_to_metric_families

from reassoc.stream.config import Config, decode_config, variable_of
from reassoc.stream.metrics import DeadReason, Metrics, TopicKind
from reassoc.stream.topics import topics_of

DEPLOY = REPOSITORY / "deploy"
GUIDE = REPOSITORY / "docs" / "OPERATIONS.md"
SERVICES = ("kafka", "redis", "postgres", "worker-1", "worker-2")

_STRING = re.compile(r'"[^"]*"')
_MATCHERS = re.compile(r"([a-zA-Z_:]\w*)\{([^}]*)\}")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SPAN = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")
PROMQL = {"sum", "max", "min", "avg", "rate", "increase", "histogram_quantile", "and", "or"}


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def series() -> dict[str, dict[str, set[str]]]:
    """Name of each series -> its labels and their values, as Prometheus sees them."""
    metrics = Metrics(lags=lambda: {(kind, 0): 1 for kind in TopicKind})
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {"job": {"reassoc"}, "instance": set()})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return {**found, "up": {"job": {"reassoc"}, "instance": set()}}


def faults(expression: str, known: dict[str, dict[str, set[str]]]) -> list[str]:
    """What an expression of PromQL names that there is not."""
    wrong, used = [], set[str]()
    for name, matchers in _MATCHERS.findall(expression):
        for label, _, values in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', matchers):
            there = known.get(name, {}).get(label)
            wrong += [
                f"{name}{{{label}={value}}}"
                for value in values.split("|")
                if there is None or (there and value not in there)
            ]
    plain = _SPAN.sub("", _MATCHERS.sub(r"\1", expression))
    groups = [label.strip() for labels in _GROUPING.findall(plain) for label in labels.split(",")]
    for name in _NAME.findall(_STRING.sub("", _GROUPING.sub("", plain))):
        if name in known:
            used |= set(known[name])
        elif name not in PROMQL:
            wrong.append(name)
    return wrong + [label for label in groups if label not in used]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in load("alerts.yml")["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("where", "expression"), [*expressions()], ids=lambda text: str(text)[:40])
def test_expressions_name_what_there_is(where: str, expression: str) -> None:
    assert faults(expression, series()) == [], where


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(reassoc_step_total)", "reassoc_step_total"),
        ("sum by (tenant) (reassoc_steps_total)", "tenant"),
        ('rate(reassoc_items_total{side="both"}[5m])', "reassoc_items_total{side=both}"),
        ('up{jobs="reassoc"}', "up{jobs=reassoc}"),
        ("summ(reassoc_held)", "summ"),
    ],
)
def test_the_check_of_expressions_finds_what_is_wrong(expression: str, fault: str) -> None:
    assert faults(expression, series()) == [fault]


def test_alerts_are_whole_and_the_guide_says_what_to_do() -> None:
    (group,) = load("alerts.yml")["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    guide = GUIDE.read_text()
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        known = {"$labels.topic", "$labels.reason", "$labels.code", "$labels.instance", "$value"}
        assert set(re.findall(r"\{\{ (\S+) \}\}", rule["annotations"]["summary"])) <= known
        assert re.search(rf"^\| `{rule['alert']}` \|", guide, re.MULTILINE), rule["alert"]


def test_the_guide_names_every_metric_reason_and_topic() -> None:
    guide = GUIDE.read_text()
    for family in text_string_to_metric_families(Metrics().exposition().decode()):
        if family.name.endswith("_created"):
            continue
        counted = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"| `{counted}` |" in guide, counted
    for reason in DeadReason:
        assert f"`{reason.value}`" in guide, reason
    for topic in topics_of(Config().kafka):
        row = re.search(
            rf"^\| `{re.escape(topic.name.replace('reassoc', 'PREFIX', 1))}` \| (\d+) \|",
            guide,
            re.MULTILINE,
        )
        assert row is not None, topic.name
        assert int(row[1]) == topic.partitions, topic.name


def test_the_compose_file_is_one_by_the_specification() -> None:
    """The schema comes with the package check-jsonschema, where that is installed."""
    found = find_spec("check_jsonschema")
    if found is None or found.origin is None:
        pytest.skip("no Compose schema: pip install --no-deps check-jsonschema brings it")
    folder = Path(found.origin).parent / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text())
    kind = jsonschema.validators.validator_for(schema)
    kind(schema).validate(load("compose.yaml"))


def test_every_service_is_bounded_restarted_and_checked() -> None:
    compose = load("compose.yaml")
    services = compose["services"]
    assert set(SERVICES) <= set(services)
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name
        if name in SERVICES:
            assert service["healthcheck"]["test"][0] == "CMD", name
            assert "profiles" not in service
        else:
            assert service["profiles"] == ["watch"]
        if "build" not in service:
            assert re.fullmatch(r"\S+:v?\d+\.?\d*\S*", service["image"]), f"{name}: no version"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"
        for needed in service.get("depends_on", []):
            assert needed in services
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source.startswith("./"), volume


def test_files_that_services_mount_are_there() -> None:
    for service in load("compose.yaml")["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./") and source != "./warehouse":
                assert (DEPLOY / source).exists(), source
    example = (DEPLOY / "env.example").read_text()
    needed = re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text())
    assert set(needed) == set(re.findall(r"^(\w+)=$", example, re.MULTILINE))


def test_redis_forgets_nothing_by_itself() -> None:
    command = load("compose.yaml")["services"]["redis"]["command"]
    settings = dict(zip(command[1::2], command[2::2], strict=True))
    assert settings["--maxmemory-policy"] == "noeviction"
    assert settings["--appendonly"] == "yes"


def test_kafka_makes_no_topic_by_itself_and_takes_the_largest_message() -> None:
    environment = load("compose.yaml")["services"]["kafka"]["environment"]
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert int(environment["KAFKA_MESSAGE_MAX_BYTES"]) >= Config().kafka.message_bytes_max


def test_the_workers_start_with_the_configuration_that_is_mounted() -> None:
    compose = load("compose.yaml")
    text = (DEPLOY / "reassoc.toml").read_bytes()
    for name in ("worker-1", "worker-2"):
        service = compose["services"][name]
        environment = {
            key: re.sub(r"\$\{[^}]*\}", "secret", str(value))
            for key, value in service["environment"].items()
        }
        config = decode_config(text, "reassoc.toml", environment).config
        assert environment["KAFKA_BOOTSTRAP"].partition(":")[0] in compose["services"]
        assert config.kafka.replication == 1
        assert config.worker.health_host == "0.0.0.0"
        targets = {volume.split(":")[1] for volume in service["volumes"]}
        assert {config.warehouse.folder, config.vault.url, config.release.folder} <= targets
        assert int(service["stop_grace_period"].rstrip("s")) > config.worker.stop_seconds
        assert str(config.worker.health_port) in service["healthcheck"]["test"][-1]
    (job,) = load("prometheus.yml")["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [
        f"{name}:{config.worker.health_port}" for name in ("worker-1", "worker-2")
    ]
    assert f"EXPOSE {config.worker.health_port}" in (DEPLOY / "Dockerfile").read_text()


def test_the_example_shows_the_defaults() -> None:
    text = (DEPLOY / "reassoc.toml").read_text()
    shown = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)
    all_of_it = decode_config(shown.encode(), "reassoc.toml", {})
    assert all_of_it.config == decode_config(text.encode(), "reassoc.toml", {}).config
    changed = set(decode_config(text.encode(), "reassoc.toml", {}).origins)
    assert changed == {"warehouse.folder"}
    assert len(all_of_it.origins) > 30
    assert variable_of("kafka.prefix") in text


def test_the_image_is_built_from_what_is_there_and_runs_as_nobody_in_particular() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    assert [line.split()[1] for line in stages] == ["python:3.13-slim"] * 2
    last = lines[lines.index(stages[-1]) :]
    user = next(line.split()[1] for line in last if line.startswith("USER "))
    assert user != "root"
    allowed = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--" not in line]
    names = {name for names in copied for name in names}
    assert names == allowed
    assert all((REPOSITORY / name).exists() for name in names)
