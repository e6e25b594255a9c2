"""What the commands of the desk say where they cannot do what is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from reassoc.stream.cli import app


@pytest.mark.parametrize(
    "words",
    [
        ["report", "--csv", "-", "--json"],
        ["report", "--csv", "-", "--html", "-"],
        ["report", "--csv", "one", "--html", "one"],
        ["open", "--csv", "-", "--json"],
        ["audit", "verify"],
        ["audit", "verify", "--ledger", "nope"],
        ["audit", "verify", "--ledger", "mysql://x"],
    ],
)
def test_words_that_contradict_each_other_are_wrong_usage(words: list[str]) -> None:
    home = [] if words[0] == "audit" else ["--home", "nowhere"]
    assert CliRunner().invoke(app, [*words, *home]).exit_code == 2


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of workers whose servers do not run."""
    for name in ("warehouse", "released"):
        (tmp_path / name).mkdir()
    config = tmp_path / "reassoc.toml"
    config.write_text(
        f"""
        kafka.bootstrap = "127.0.0.1:9"
        redis.url = "redis://127.0.0.1:9"
        ledger.url = "postgresql://clerk:canary@127.0.0.1:9/ledger"
        vault.url = "file://{tmp_path}/vault"
        warehouse.folder = "{tmp_path}/warehouse"
        release.folder = "{tmp_path}/released"
        """
    )
    return config


def test_a_vault_that_is_not_there_yet_is_said(config: Path) -> None:
    result = CliRunner().invoke(app, ["vault", "verify", "--config", str(config)])
    assert result.exit_code == 1
    assert "there is no vault" in result.output


@pytest.mark.parametrize("words", [["open"], ["report"], ["audit", "verify"], ["status"]])
def test_a_database_that_is_not_there_is_named(config: Path, words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--config", str(config)])
    assert result.exit_code == 1
    assert "the ledger's database cannot be reached" in result.output
    assert "port 9" in result.output
    assert "canary" not in result.output
