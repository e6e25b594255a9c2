"""What an operator decides about a worker: where Kafka, Redis, the ledger and the vault are, and
how much of the machine it may use. One TOML file, and environment variables on top of it.

    [kafka]
    bootstrap = "kafka-1:9092,kafka-2:9092"

    [redis]
    url = "rediss://reassoc@redis:6379/0"

Every key has a variable REASSOC_SECTION_KEY (REASSOC_KAFKA_RAW_PARTITIONS, and
REASSOC_KAFKA_SECURITY_USER for a key of [kafka.security]); lists are written with commas there.
KAFKA_BOOTSTRAP, REDIS_URL and DATABASE_URL work as well, below those. What decides about money lies
in the warehouse's folder (policy.toml, warehouse.toml, directory.toml, layouts/) and is none of it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from reassoc.core.errors import ReassocError
from reassoc.stream.settings import read_bytes

CONFIG_BYTES_MAX = 1 << 20
PASSWORD_BYTES_MAX = 1 << 12
PROBLEMS_MAX = 50
"""Problems that one message names."""
NODES_MAX = 100
"""Hosts in one list of them."""
ROLES = ("intake", "match", "deliver")
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "text")
VARIABLE_PREFIX = "REASSOC_"
USUAL_VARIABLES = {
    "KAFKA_BOOTSTRAP": "kafka.bootstrap",
    "REDIS_URL": "redis.url",
    "DATABASE_URL": "ledger.url",
}
_OTHERS_VARIABLES = {"REASSOC_VAULT_KEY"}
"""Variables of other parts that look as if they were a key of a section."""
MASK = "***"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)
_NAME_RULE = "must have 1 to 64 of a-z, 0-9, . _ - and begin and end with a letter or a digit"
_VAULT_NAME = re.compile(r"[a-z0-9_-]{1,56}", re.ASCII)
_VAULT_NAME_RULE = "must have 1 to 56 of a-z, 0-9, _ -"
_NAME_IS_MISSING = "must be given where vault.url is no folder: one of its own for each worker"
_HOST_PORT = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:]{2,39}\]):(\d{1,5})", re.ASCII)
_REDIS_URL = re.compile(r"(rediss?|redis\+cluster|rediss\+cluster)://\S+", re.ASCII)
_LEDGER_URL = re.compile(r"(?:postgres(?:ql)?|sqlite)(?:\+[a-z]+)?://\S+", re.ASCII)
_USER = re.compile(r"[\w.-]*")
_SECRET_ARGUMENT = re.compile(r"(?i)([?&][^=&]*(?:pass|secret|key|token)[^=&]*=)[^&]*")


class ConfigError(ReassocError):
    """A configuration is not usable; the message names each key and where it stands, never the
    value of one that may hold a secret."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Shows itself without secrets."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({masked(self)})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        yield from masked(self).items()


class Security(_Section, frozen=True, kw_only=True):
    """How to speak to Kafka. The password lies in a file of its own, never in here.

    ca_file : certificates (PEM) to trust, empty for those of the system
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    user: str = ""
    password_file: str = ""
    ca_file: str = ""


class Kafka(_Section, frozen=True, kw_only=True):
    """The brokers, and the topics below `prefix`.

    raw_partitions, items_partitions, replication : of topics that are made; the item log's
        partitions never change after that
    message_bytes_max : largest message, of topics that are made and of what is sent
    """

    bootstrap: str = "127.0.0.1:9092"
    prefix: str = "reassoc"
    security: Security = msgspec.field(default_factory=Security)
    raw_partitions: int = 6
    items_partitions: int = 12
    replication: int = 3
    message_bytes_max: int = 2 << 20


class Redis(_Section, frozen=True, kw_only=True):
    """The match state. url : redis://, rediss:// or redis+cluster://host:port,host:port

    records_max : open records of one tenant, beyond which steps are refused
    connect_seconds, call_seconds : for a connection to come, and for an attempt at one call
    """

    url: str = "redis://127.0.0.1:6379/0"
    records_max: int = 20_000_000
    connect_seconds: float = 3.0
    call_seconds: float = 10.0


class LedgerPlace(_Section, frozen=True, kw_only=True):
    """The ledger's database. url : postgresql://user@host/name"""

    url: str = "postgresql://127.0.0.1/reassoc"


_KEY_FILE = "vault.key"
"""Beside the settings, where the configuration names no other."""


class VaultPlace(_Section, frozen=True, kw_only=True):
    """The vaults of the workers. url : a folder, or what fsspec knows (s3://bucket/path)

    name : of this worker's own vault, empty for one that is free (in a folder only)
    key_file : the master key; empty where REASSOC_VAULT_KEY holds it
    """

    url: str = "/var/lib/reassoc/vault"
    name: str = ""
    key_file: str = ""


class Release(_Section, frozen=True, kw_only=True):
    """Where what is released goes. folder : has a folder for each receiver

    held : nothing is delivered, everything else goes on
    """

    folder: str = "/var/lib/reassoc/released"
    held: bool = False


class Warehouse(_Section, frozen=True, kw_only=True):
    """folder : where policy.toml, warehouse.toml, directory.toml and layouts/ lie"""

    folder: str = "/etc/reassoc"


class Worker(_Section, frozen=True, kw_only=True):
    """What one process does.

    linger_ms : how long intake waits for more messages before it takes what there is
    batch_messages_max, batch_bytes_max : of what intake takes at a time
    session_timeout_s : after so long without a sign of life others take over its partitions
    stop_seconds : how long a stop waits for what is in flight
    """

    roles: tuple[str, ...] = ROLES
    intake_threads: int = 1
    linger_ms: int = 5
    batch_messages_max: int = 10_000
    batch_bytes_max: int = 32 << 20
    health_host: str = "127.0.0.1"
    health_port: int = 8080
    session_timeout_s: int = 20
    stop_seconds: int = 10


class Log(_Section, frozen=True, kw_only=True):
    """What is logged, and how. tenants : their names may be shown, else a digest of each"""

    level: str = "info"
    format: str = "json"
    tenants: bool = True


class Config(_Section, frozen=True, kw_only=True):
    """The whole configuration, checked by `decode_config` and `load_config`."""

    kafka: Kafka = msgspec.field(default_factory=Kafka)
    redis: Redis = msgspec.field(default_factory=Redis)
    ledger: LedgerPlace = msgspec.field(default_factory=LedgerPlace)
    vault: VaultPlace = msgspec.field(default_factory=VaultPlace)
    release: Release = msgspec.field(default_factory=Release)
    warehouse: Warehouse = msgspec.field(default_factory=Warehouse)
    worker: Worker = msgspec.field(default_factory=Worker)
    log: Log = msgspec.field(default_factory=Log)

    @property
    def vault_key_file(self) -> Path:
        """Where the vaults' master key lies, unless REASSOC_VAULT_KEY holds it."""
        return Path(self.vault.key_file or Path(self.warehouse.folder) / _KEY_FILE)


_RANGES: dict[str, tuple[float, float]] = {
    "kafka.raw_partitions": (1, 1000),
    "kafka.items_partitions": (1, 1000),
    "kafka.replication": (1, 9),
    "kafka.message_bytes_max": (1 << 16, 64 << 20),
    "redis.records_max": (1000, 1_000_000_000),
    "redis.connect_seconds": (0.1, 60),
    "redis.call_seconds": (0.1, 300),
    "worker.intake_threads": (1, 64),
    "worker.linger_ms": (0, 1000),
    "worker.batch_messages_max": (1, 100_000),
    "worker.batch_bytes_max": (1 << 20, 1 << 30),
    "worker.health_port": (0, 65_535),
    "worker.session_timeout_s": (6, 300),
    "worker.stop_seconds": (1, 300),
}
_WORDS: dict[str, tuple[str, ...]] = {
    "kafka.security.protocol": PROTOCOLS,
    "kafka.security.mechanism": MECHANISMS,
    "log.level": LEVELS,
    "log.format": FORMATS,
}
_Problem = tuple[str, str]
"""A key, and what is wrong with it, without its value where that may hold a secret."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it comes from.

    origins : key -> the variable, or FILE:LINE, that set it; keys with their default are left out
    """

    config: Config
    origins: Mapping[str, str]


# ---- reading ----


def load_config(path: Path | None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read a configuration file (TOML, UTF-8, at most CONFIG_BYTES_MAX; None for none) and the
    variables on top of it; everything in it is checked, but not yet what it names (`check_paths`).

    environment : os.environ where not given

    Raises ConfigError that names every key that is wrong, and where it was set.
    """
    data, where = b"", "no file"
    if path is not None:
        where = str(path)
        data = read_bytes(path, ("CONFIG_BYTES_MAX", CONFIG_BYTES_MAX), ConfigError)
    return decode_config(data, where, os.environ if environment is None else environment)


def decode_config(data: bytes, where: str, environment: Mapping[str, str]) -> Loaded:
    """A configuration out of its text and the variables. Raises ConfigError as `load_config`."""
    try:
        text = data.decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from None
    kinds = dict(_leaves(Config, ""))
    origins = {key: f"{where}:{line}" for key, line in _lines(text).items() if key in kinds}
    unknown = list(_unknown(Config, values, "", _lines(text), where))
    values, problems = _with_environment(values, kinds, environment, origins)
    if unknown or problems:
        raise _refusal(unknown + problems)
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        text, _, key = str(error).partition(" - at `$.")
        key = key.rstrip("`").partition("[")[0]
        raise _refusal([f"{_at(key, origins, where)}key {key}: {_plain(text)}"]) from None
    found = [f"{_at(key, origins, where)}key {key} {said}" for key, said in _problems(config)]
    if found:
        raise _refusal(found)
    return Loaded(config, origins)


def _at(key: str, origins: Mapping[str, str], where: str) -> str:
    """Where a key was set, in front of what is said about it; a default is wrong only beside
    another key."""
    return f"{origins.get(key, where)}: "


def _refusal(problems: list[str]) -> ConfigError:
    more = len(problems) - PROBLEMS_MAX
    lines = problems[:PROBLEMS_MAX] + ([f"... and {more} more"] if more > 0 else [])
    return ConfigError("\n".join(lines))


def _plain(message: str) -> str:
    """msgspec names kinds in backquotes, and never a value of ours but in a few messages: those
    are cut at their colon."""
    return message.partition(":")[0].replace("`", "")


def _leaves(kind: type[msgspec.Struct], before: str) -> Iterator[tuple[str, Any]]:
    """Every key as people write it, and its type."""
    for field in msgspec.structs.fields(kind):
        if _is_section(field.type):
            yield from _leaves(field.type, f"{before}{field.name}.")
        else:
            yield f"{before}{field.name}", field.type


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


_HEADING = re.compile(r"\s*\[\s*([\w.-]+)\s*\]", re.ASCII)
_KEY_LINE = re.compile(r"\s*([\w.-]+)\s*=", re.ASCII)


def _lines(text: str) -> dict[str, int]:
    """The line that each key stands in, from 1: of the plain ways to write TOML, for messages."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _HEADING.match(line):
            section = f"{heading[1]}."
            found.setdefault(heading[1], number)
        elif key := _KEY_LINE.match(line):
            found.setdefault(f"{section}{key[1]}", number)
    return found


def _unknown(
    kind: type[msgspec.Struct],
    values: Mapping[str, Any],
    before: str,
    lines: Mapping[str, int],
    where: str,
) -> Iterator[str]:
    """A line for each key that there is not, with the nearest one that there is."""
    known = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for name, value in values.items():
        key = f"{before}{name}"
        if name not in known:
            line = f":{lines[key]}" if key in lines else ""
            yield f"{where}{line}: unknown key {key}{_nearest(name, known)}"
        elif isinstance(value, dict) and _is_section(known[name]):
            yield from _unknown(known[name], value, f"{key}.", lines, where)


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(name, known, 1)
    return f": did you mean {close[0]}?" if close else f": known are {', '.join(known)}"


def _with_environment(
    values: dict[str, Any],
    kinds: Mapping[str, Any],
    environment: Mapping[str, str],
    origins: dict[str, str],
) -> tuple[dict[str, Any], list[str]]:
    """The values with those of variables on top, and what is wrong with these. Adds to origins."""
    named = {variable_of(key): key for key in kinds}
    problems = list(_strange_variables(environment, named))
    for variable, key in {**USUAL_VARIABLES, **named}.items():
        text = environment.get(variable, "")
        if not text:
            continue
        try:
            value = _value_of(text, kinds[key])
        except msgspec.ValidationError:
            problems.append(f"variable {variable} (key {key}) must be {_kind_name(kinds[key])}")
            continue
        values = _put(values, key.split("."), value)
        origins[key] = f"variable {variable}"
    return values, problems


def variable_of(key: str) -> str:
    """The variable of a key: kafka.raw_partitions has REASSOC_KAFKA_RAW_PARTITIONS."""
    return VARIABLE_PREFIX + key.replace(".", "_").upper()


def _strange_variables(environment: Mapping[str, str], named: Mapping[str, str]) -> Iterator[str]:
    sections = tuple(variable_of(name) + "_" for name in Config.__struct_fields__)
    for variable in sorted(environment):
        if variable.startswith(sections) and variable not in {*named, *_OTHERS_VARIABLES}:
            yield f"unknown variable {variable}{_nearest(variable, named)}"


def _value_of(text: str, kind: Any) -> Any:
    """A variable's text as its key's kind. Raises ValidationError."""
    if kind is str:
        return text
    if kind == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    return msgspec.convert(text.strip().lower(), kind, strict=False)


def _kind_name(kind: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")


def _put(values: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    name, *rest = path
    if not rest:
        return {**values, name: value}
    inner = values.get(name, {})
    return {**values, name: _put(inner if isinstance(inner, dict) else {}, rest, value)}


# ---- checking ----


def _problems(config: Config) -> Iterator[_Problem]:
    """What is wrong with values of the right kinds."""
    for key, (least, most) in _RANGES.items():
        if not least <= value_at(config, key) <= most:
            yield key, f"must be from {least} to {most}"
    for key, words in _WORDS.items():
        if value_at(config, key) not in words:
            yield key, f"must be one of {', '.join(words)}"
    yield from _kafka_problems(config.kafka)
    yield from _place_problems(config)
    yield from _worker_problems(config)


def value_at(config: Config, key: str) -> Any:
    """The value of a key as people write it (kafka.security.user)."""
    found: Any = config
    for name in key.split("."):
        found = getattr(found, name)
    return found


def _kafka_problems(kafka: Kafka) -> Iterator[_Problem]:
    if not _are_hosts(kafka.bootstrap):
        yield "kafka.bootstrap", f"must be host:port,host:port (at most {NODES_MAX})"
    if not _NAME.fullmatch(kafka.prefix):
        yield "kafka.prefix", _NAME_RULE
    security = kafka.security
    if security.protocol.startswith("SASL"):
        for name in ("user", "password_file"):
            if not getattr(security, name):
                yield f"kafka.security.{name}", f"must be given with {security.protocol}"
    elif security.user or security.password_file:
        yield "kafka.security.user", "is of use only with SASL_PLAINTEXT or SASL_SSL"
    if security.ca_file and "SSL" not in security.protocol.replace("SASL", ""):
        yield "kafka.security.ca_file", "is of use only with SSL or SASL_SSL"


def _are_hosts(text: str) -> bool:
    hosts = [part.strip() for part in text.split(",")]
    matches = [_HOST_PORT.fullmatch(host) for host in hosts]
    return len(hosts) <= NODES_MAX and all(
        match is not None and 0 < int(match[1]) < 1 << 16 for match in matches
    )


def _place_problems(config: Config) -> Iterator[_Problem]:
    redis = _REDIS_URL.fullmatch(config.redis.url)
    if redis is None:
        yield (
            "redis.url",
            "must begin with redis://, rediss://, redis+cluster:// or rediss+cluster://",
        )
    elif redis[1].endswith("cluster") and not _are_hosts(_hosts_of(config.redis.url)):
        yield "redis.url", "must be redis+cluster://host:port,host:port"
    if not _LEDGER_URL.fullmatch(config.ledger.url):
        yield "ledger.url", "must begin with postgresql:// (or sqlite:/// for one machine)"
    if config.vault.name and not _VAULT_NAME.fullmatch(config.vault.name):
        yield "vault.name", _VAULT_NAME_RULE
    is_folder = "://" not in config.vault.url or config.vault.url.startswith("file://")
    if not is_folder and not config.vault.name and "intake" in config.worker.roles:
        yield "vault.name", f"{_NAME_IS_MISSING} (REASSOC_VAULT_NAME)"
    for key in ("vault.url", "release.folder", "warehouse.folder"):
        if not value_at(config, key).strip():
            yield key, "must not be empty"


def _hosts_of(url: str) -> str:
    return url.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]


def _worker_problems(config: Config) -> Iterator[_Problem]:
    worker = config.worker
    if not worker.roles or len({*worker.roles}) != len(worker.roles) or {*worker.roles} - {*ROLES}:
        yield "worker.roles", f"must name some of {', '.join(ROLES)}, each once"
    if worker.batch_bytes_max < config.kafka.message_bytes_max:
        yield "worker.batch_bytes_max", "must not be below kafka.message_bytes_max"
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", worker.health_host):
        yield "worker.health_host", "must be an address or a host name"


def check_paths(loaded: Loaded) -> list[str]:
    """What is wrong with the files and folders that a configuration names, a line for each; empty
    where a worker may start. Asks the file system only."""
    config, found = loaded.config, []
    for key in ("kafka.security.password_file", "kafka.security.ca_file", "vault.key_file"):
        path = value_at(config, key)
        if path and not os.access(path, os.R_OK):
            found.append(f"{_at(key, loaded.origins, 'default')}key {key}: no file to read there")
    folders = ["warehouse.folder"]
    if "deliver" in config.worker.roles:
        folders.append("release.folder")
    for key in folders:
        if not Path(value_at(config, key)).is_dir():
            found.append(f"{_at(key, loaded.origins, 'default')}key {key}: no folder there")
    return found


def kafka_password(security: Security) -> str:
    """The password out of its file, without the line's end; empty where none is named. Raises
    ConfigError that names the key and the file."""
    if not security.password_file:
        return ""
    path = Path(security.password_file)
    try:
        data = read_bytes(path, ("PASSWORD_BYTES_MAX", PASSWORD_BYTES_MAX), ConfigError)
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} (kafka.security.password_file): not UTF-8") from None


# ---- showing ----


def masked(section: msgspec.Struct) -> dict[str, Any]:
    """A section, or all of them, as plain values to be shown: passwords in URLs are `***`."""
    shown: dict[str, Any] = {}
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, msgspec.Struct):
            shown[name] = masked(value)
        elif isinstance(value, str):
            shown[name] = mask_url(value)
        else:
            shown[name] = list(value) if isinstance(value, tuple) else value
    return shown


def mask_url(text: str) -> str:
    """A URL without what may be secret in it: all that stands behind the user, and arguments that
    are called like a password, a key or a token. Other texts stay as they are."""
    scheme, found, rest = text.partition("://")
    if not found:
        return text
    person, at, place = rest.rpartition("@")
    if at:
        # A password may hold any character, a user's name may not: then nothing of it is shown.
        user, colon, _ = person.partition(":")
        place = f"{user if _USER.fullmatch(user) else MASK}{colon and f':{MASK}'}@{place}"
    return _SECRET_ARGUMENT.sub(rf"\1{MASK}", f"{scheme}://{place}")
