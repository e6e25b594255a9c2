"""A worker's configuration: what is wrong is named by its key and place, secrets never show."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from reassoc.stream.config import (
    CONFIG_BYTES_MAX,
    PROBLEMS_MAX,
    Config,
    ConfigError,
    Security,
    check_paths,
    decode_config,
    kafka_password,
    load_config,
    mask_url,
    masked,
    value_at,
    variable_of,
)
from reassoc.stream.config_view import config_app, config_text

CANARY = "Zq7canary"
DEPLOY = Path(__file__).parents[2] / "deploy"
GUIDE = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"


def decode(text: str, environment: Mapping[str, str] | None = None) -> Config:
    return decode_config(text.encode(), "worker.toml", environment or {}).config


def refusal(text: str, environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        decode(text, environment)
    return str(caught.value)


def keys(section: type[msgspec.Struct] = Config, before: str = "") -> list[str]:
    found = []
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found += keys(field.type, f"{before}{field.name}.")
        else:
            found.append(before + field.name)
    return found


def test_no_file_and_no_variable_are_the_defaults_and_these_are_usable() -> None:
    assert load_config(None, {}).config == decode("") == Config()
    assert load_config(None, {}).origins == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[kafka]\nraw_partitions = 0", "worker.toml:2: key kafka.raw_partitions must be from 1"),
        ("[kafka]\n\nreplication = 'three'", "worker.toml:3: key kafka.replication: Expected int"),
        ("[kafka]\nbootstrap = 'kafka'", "worker.toml:2: key kafka.bootstrap must be host:port"),
        ("[kafka]\nbootstrap = 'kafka:99999'", "kafka.bootstrap must be host:port"),
        ("[kafka]\nprefix = 'Re assoc'", "kafka.prefix must have"),
        ("[kafka]\nraw_partition = 3", "worker.toml:2: unknown key kafka.raw_partition: did you"),
        ("[kafka]\nraw_partition = 3", "mean raw_partitions?"),
        ("[kafak]\nprefix = 'a'", "worker.toml:1: unknown key kafak: did you mean kafka?"),
        ("[clock]\nzone = 'UTC'", "unknown key clock"),
        ("[log]\nshout = true", "unknown key log.shout: known are level, format, tenants"),
        ("[kafka.security]\nprotocol = 'TLS'", "worker.toml:2: key kafka.security.protocol must"),
        ("kafka.security.protocol = 'SASL_SSL'", "kafka.security.user must be given with SASL_SSL"),
        ("kafka.security.user = 'a'", "kafka.security.user is of use only with SASL"),
        ("kafka.security.ca_file = 'a'", "kafka.security.ca_file is of use only with SSL"),
        ("[redis]\nurl = 'http://a'", "worker.toml:2: key redis.url must begin with redis://"),
        ("[redis]\nurl = 'redis+cluster://a,b'", "redis.url must be redis+cluster://host:port"),
        ("[redis]\ncall_seconds = nan", "redis.call_seconds must be from 0.1 to 300"),
        ("[ledger]\nurl = 'mysql://a/b'", "ledger.url must begin with postgresql://"),
        ("[vault]\nurl = 's3://bucket'", "vault.name must be given where vault.url is no folder"),
        ("[vault]\nname = '../w0'", "vault.name must have"),
        ("[vault]\nname = 'w0.2'", "vault.name must have"),
        ("[worker]\nroles = ['match', 'cook']", "worker.roles must name some of intake, match"),
        ("[worker]\nroles = []", "worker.roles must name some of"),
        ("[worker]\nroles = [1]", "worker.toml:2: key worker.roles: Expected str"),
        ("[worker]\nbatch_bytes_max = 1048576", "batch_bytes_max must not be below kafka.message"),
        ("[worker]\nhealth_host = 'a b'", "worker.health_host must be an address"),
        ("[log]\nlevel = 'loud'", "log.level must be one of debug, info, warning, error"),
        ("kafka = 3", "key kafka: Expected object"),
        ("[kafka", "worker.toml: not TOML"),
    ],
)
def test_a_wrong_key_is_named_with_its_place(text: str, what: str) -> None:
    assert what in refusal(text)


def test_all_that_is_wrong_is_said_at_once_but_not_without_end() -> None:
    text = refusal("[kafka]\nreplication = 0\nraw_partitions = 0\n[log]\nlevel = 'a'")
    assert len(text.splitlines()) == 3
    many = "\n".join(f"k{number} = 1" for number in range(PROBLEMS_MAX + 7))
    assert refusal(many).splitlines()[PROBLEMS_MAX:] == ["... and 7 more"]


def test_variables_win_over_the_file_and_own_names_over_usual_ones() -> None:
    text = "[redis]\nurl = 'redis://file:1'\n[kafka]\nreplication = 1"
    usual = {"REDIS_URL": "redis://usual:1", "KAFKA_BOOTSTRAP": "a:1,b:2", "DATABASE_URL": ""}
    config = decode(text, usual)
    assert (config.redis.url, config.kafka.bootstrap) == ("redis://usual:1", "a:1,b:2")
    assert config.ledger == Config().ledger, "an empty variable is none"
    own = {
        "REASSOC_REDIS_URL": "redis://own:1",
        "REASSOC_KAFKA_SECURITY_PROTOCOL": "SSL",
        "REASSOC_WORKER_ROLES": "intake, match",
        "REASSOC_RELEASE_HELD": "TRUE",
        "REASSOC_REDIS_CALL_SECONDS": "2.5",
    }
    loaded = decode_config(text.encode(), "worker.toml", {**usual, **own})
    config = loaded.config
    assert (config.redis.url, config.redis.call_seconds) == ("redis://own:1", 2.5)
    assert config.kafka.security.protocol == "SSL"
    assert config.worker.roles == ("intake", "match")
    assert config.release.held is True
    assert loaded.origins["redis.url"] == "variable REASSOC_REDIS_URL"
    assert loaded.origins["kafka.replication"] == "worker.toml:4"


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("REASSOC_KAFKA_REPLICATION", "0", "variable REASSOC_KAFKA_REPLICATION: key kafka.repl"),
        ("REASSOC_KAFKA_REPLICATION", "two", "REASSOC_KAFKA_REPLICATION (key kafka.replication)"),
        ("REASSOC_RELEASE_HELD", "perhaps", "must be true or false"),
        ("REASSOC_KAFKA_BOOTSTAP", "a:1", "did you mean REASSOC_KAFKA_BOOTSTRAP?"),
        ("DATABASE_URL", "mysql://a", "variable DATABASE_URL: key ledger.url must begin"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, what: str) -> None:
    assert what in refusal("", {variable: value})


def test_variables_of_others_are_left_alone() -> None:
    others = {"REASSOC_VAULT_KEY": "1:abc", "REASSOC_DEBUG": "1", "REASSOC_HYPOTHESIS": "quick"}
    assert decode("", others) == Config()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://:{CANARY}@host:1/0", "redis://:***@host:1/0"),
        (f"redis://user:{CANARY}@host", "redis://user:***@host"),
        (f"redis://user:{CANARY}/@:{CANARY}@host", "redis://user:***@host"),
        (f"redis://{CANARY}/{CANARY}@host", "redis://***@host"),
        (f"postgresql://a@host/b?sslmode=require&sslpassword={CANARY}", None),
        (f"postgresql://host/b?password={CANARY}&user=c", None),
        (f"redis+cluster://:{CANARY}@a:1,b:2", "redis+cluster://:***@a:1,b:2"),
        ("postgresql://user@host/name", "postgresql://user@host/name"),
        ("/var/lib/a@b", "/var/lib/a@b"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, shown: str | None) -> None:
    assert CANARY not in mask_url(url)
    assert "host" in mask_url(url) or shown is not None
    assert shown in (None, mask_url(url))


def test_no_secret_shows_in_a_repr_a_dump_or_a_refusal() -> None:
    urls = {
        "REASSOC_REDIS_URL": f"redis://:{CANARY}@a",
        "DATABASE_URL": f"postgresql://u:{CANARY}@a/b",
        "REASSOC_VAULT_URL": f"s3://k:{CANARY}@bucket",
        "REASSOC_VAULT_NAME": "w0",
    }
    loaded = decode_config(b"", "worker.toml", urls)
    for shown in (repr(loaded.config), repr(loaded), str(masked(loaded.config))):
        assert CANARY not in shown
        assert "***" in shown
    assert CANARY not in config_text(loaded)
    for key, value in {
        "REDIS_URL": f"http://{CANARY}",
        "KAFKA_BOOTSTRAP": f"u:{CANARY}@a:1",
        "DATABASE_URL": CANARY,
        "REASSOC_REDIS_RECORDS_MAX": CANARY,
    }.items():
        assert CANARY not in refusal("", {key: value})
    for text in (f"[redis]\nurl = {{ a = '{CANARY}' }}", f"[ledger]\nurl = ['{CANARY}']"):
        assert CANARY not in refusal(text)


def test_what_is_shown_is_a_configuration_again(tmp_path: Path) -> None:
    text = "[kafka]\nreplication = 1\n[worker]\nroles = ['match']\n[kafka.security]\nuser = ''"
    loaded = decode_config(text.encode(), "worker.toml", {})
    shown = config_text(loaded)
    assert decode(shown) == loaded.config
    assert "replication = 1  # worker.toml:2" in shown
    assert "user = " in shown
    assert 'user = ""  # worker.toml:6' in shown


def test_a_password_comes_from_its_file_only(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(f"{CANARY}\n")
    security = Security(protocol="SASL_SSL", user="a", password_file=str(path))
    assert kafka_password(security) == CANARY
    assert kafka_password(Security()) == ""
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"kafka\.security\.password_file"):
        kafka_password(security)


def test_files_and_folders_that_are_named_must_be_there(tmp_path: Path) -> None:
    text = f"[vault]\nkey_file = '{tmp_path}/k'\n[warehouse]\nfolder = '{tmp_path}'\n"
    lines = check_paths(decode_config(text.encode(), "worker.toml", {}))
    assert len(lines) == 2
    assert lines[0].startswith("worker.toml:2: key vault.key_file")
    assert "release.folder" in lines[1]
    only_match = text + "[worker]\nroles = ['match']"
    assert len(check_paths(decode_config(only_match.encode(), "worker.toml", {}))) == 1


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "worker.toml"
    path.write_bytes(b"#" * (CONFIG_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="CONFIG_BYTES_MAX"):
        load_config(path, {})
    path.write_bytes(b"#\xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 1"):
        load_config(path, {})


def test_the_command_says_by_its_exit_code_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KAFKA_BOOTSTRAP", "REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "worker.toml"
    good = f"[release]\nfolder = '{tmp_path}'\n[warehouse]\nfolder = '{tmp_path}'\n"
    run = CliRunner().invoke
    path.write_text(good)
    monkeypatch.setenv("REDIS_URL", f"redis://:{CANARY}@a:1")
    done = run(config_app, ["check", str(path)])
    assert done.exit_code == 0, done.output
    assert 'url = "redis://:***@a:1"  # variable REDIS_URL' in done.output
    shown = msgspec.json.decode(run(config_app, ["check", str(path), "--json"]).stdout)
    assert shown["redis"]["url"] == "redis://:***@a:1"
    (tmp_path / "policy.toml").write_text("no_such_key = 1")
    done = run(config_app, ["check", str(path)])
    assert (done.exit_code, "no_such_key" in done.stderr) == (1, True)
    path.write_text(f"{good}[log]\nlevel = 'a'")
    done = run(config_app, ["check", str(path)])
    assert (done.exit_code, f"{path}:6: key log.level" in done.stderr) == (2, True)


def test_the_guide_and_the_example_name_every_key() -> None:
    guide, example = GUIDE.read_text(), (DEPLOY / "reassoc.toml").read_text()
    parts = re.split(r"^\[([a-z.]+)\]$", example, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for key in keys():
        section, _, name = key.rpartition(".")
        default = value_at(Config(), key)
        shown = json.dumps(list(default) if isinstance(default, tuple) else default)
        assert f"\n| `{key}` | `{shown}` |" in guide, key
        assert re.search(rf"^(?:# )?{name} = ", sections[section], re.MULTILINE), key
        assert variable_of(key) == "REASSOC_" + key.upper().replace(".", "_")
