"""The commands about the vault of a home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from vault_build import World, noise

from reassoc.stream.home import Home
from reassoc.stream.vault_commands import vault_app
from reassoc.stream.vault_keys import FileKeyRing


@pytest.fixture(autouse=True)
def _no_keys_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REASSOC_VAULT_KEY", "REASSOC_VAULT_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)


class Filled:
    """A home with two contents."""

    def __init__(self, path: Path) -> None:
        self.home = Home.create_or_open(path)
        self.world = World()
        keys = FileKeyRing.create(self.home.key_file({}), "1")
        with self.world.open(self.home.vault, keys) as vault:
            self.digests = [vault.put([noise(number, 900)]).digest.hex() for number in range(2)]

    def run(self, command: str, *words: str) -> Result:
        return CliRunner().invoke(vault_app, [command, "--home", str(self.home.path), *words])

    def listed(self) -> list[dict[str, object]]:
        result = self.run("list", "--json")
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    return Filled(tmp_path / "home")


def test_verify_says_what_is_damaged(filled: Filled) -> None:
    result = filled.run("verify")
    assert result.exit_code == 0, result.output
    assert "2 contents are whole" in result.stdout
    (file,) = filled.home.vault.rglob("*.data")
    data = bytearray(file.read_bytes())
    data[500] ^= 1
    file.write_bytes(data)
    result = filled.run("verify")
    assert result.exit_code == 1
    assert f"segments/{file.name}, bytes 16 to " in result.stdout
    assert filled.digests[0] in result.stdout


def test_contents_are_listed(filled: Filled) -> None:
    assert {each["digest"] for each in filled.listed()} == set(filled.digests)
    result = filled.run("list")
    assert result.exit_code == 0
    assert filled.digests[0][:16] in result.output


def test_a_hold_keeps_and_erasing_erases(filled: Filled) -> None:
    digest = filled.digests[0]
    words = (digest[:12], "--who", "counsel")
    assert filled.run("hold", *words, "--why", "case 1").exit_code == 0
    result = filled.run("erase", *words, "--why", "a request")
    assert (result.exit_code, "legal hold" in result.output) == (1, True)
    assert filled.run("unhold", *words, "--why", "closed").exit_code == 0
    assert filled.run("erase", *words, "--why", "a request").exit_code == 0
    erased = {each["digest"]: each["erased"] for each in filled.listed()}
    assert erased[digest] == {
        "who": "counsel",
        "why": "a request",
        "at": erased[digest]["at"],  # type: ignore[index]
    }
    assert erased[filled.digests[1]] is None
    assert filled.run("verify").exit_code == 0


def test_keys_are_rotated(filled: Filled) -> None:
    result = filled.run("rotate", "--new-key")
    assert result.exit_code == 0, result.output
    assert "2 data keys wrapped anew" in result.stdout
    lines = filled.home.key_file({}).read_text().splitlines()
    keys = [line for line in lines if not line.startswith("#")]
    assert len(keys) == 2
    assert {each["key"] for each in filled.listed()} == {keys[1].split()[0]}
    # The old key is not needed any more.
    filled.home.key_file({}).write_text(keys[1] + "\n")
    assert filled.run("verify").exit_code == 0


def test_retention_is_set_and_applied(filled: Filled) -> None:
    assert filled.run("retain", "3650").exit_code == 0
    result = filled.run("erase", filled.digests[0], "--why", "x", "--who", "me")
    assert (result.exit_code, "retention keeps it" in result.output) == (1, True)
    assert filled.run("retain", "forever").exit_code == 0
    assert all(each["erased"] is None for each in filled.listed())
    assert filled.run("retain", "soon").exit_code == 2
    assert filled.run("retain", "0").exit_code == 1


def test_what_cannot_be_done_is_said(filled: Filled, tmp_path: Path) -> None:
    assert filled.run("erase", "abc", "--why", "x").exit_code == 2
    result = filled.run("hold", "0" * 64, "--why", "x")
    assert (result.exit_code, "no content of the vault" in result.output) == (2, True)
    result = CliRunner().invoke(vault_app, ["verify", "--home", str(tmp_path / "none")])
    assert result.exit_code == 1
    keys = FileKeyRing.load(filled.home.key_file({}))
    with filled.world.open(filled.home.vault, keys):
        assert filled.run("verify").exit_code == 0
        result = filled.run("rotate")
        assert (result.exit_code, "another process writes" in result.output) == (1, True)
    filled.home.key_file({}).unlink()
    result = filled.run("list")
    assert (result.exit_code, "key file is missing" in result.output) == (1, True)
    assert not filled.home.key_file({}).exists()
