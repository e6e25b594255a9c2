"""The commands about vaults where each worker has one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result
from vault_build import World, noise

from reassoc.stream import vault_commands
from reassoc.stream.ledger import Ledger
from reassoc.stream.part_book import Part, PartBook
from reassoc.stream.vault import Vault
from reassoc.stream.vault_commands import vault_app
from reassoc.stream.vault_errors import VaultError
from reassoc.stream.vault_keys import FileKeyRing
from reassoc.stream.worker_vault import WorkerVaults

FILE, OTHER = b"f" * 32, b"o" * 32


class Filled:
    """Vaults w0 and w1: both have the first content, and each one of its own. A file lies in the
    first and the second, another one in the first."""

    def __init__(self, folder: Path) -> None:
        self.vaults = folder / "vault"
        self.key_file = folder / "vault.key"
        self.config = folder / "reassoc.toml"
        self.config.write_text(
            f'[vault]\nurl = "{self.vaults}"\nkey_file = "{self.key_file}"\n'
            f'[ledger]\nurl = "sqlite:///{folder / "ledger.db"}"\n'
        )
        self.world = World()
        FileKeyRing.create(self.key_file, "1")
        first, second = self.open(), self.open()
        shared, *own = [noise(number, 900) for number in range(3)]
        with closing(first), closing(second):
            assert (first.name, second.name) == ("w0", "w1")
            lies = [first.put([shared]), first.put([own[0]]), second.put([own[1]])]
            second.put([shared])
        self.digests = [each.digest for each in lies]
        with self.book() as book:
            book.remember(
                [
                    Part(FILE, 0, 500, "w0", self.digests[0], 0, b"", logged=True),
                    Part(FILE, 500, 600, "w0", self.digests[0], 700, b"", logged=True),
                    Part(FILE, 600, 1500, "w0", self.digests[1], 0, b"", logged=True),
                    Part(OTHER, 0, 200, "w0", self.digests[0], 500, b"", logged=True),
                ]
            )

    def open(self) -> WorkerVaults:
        """A worker's vaults."""
        keys = FileKeyRing.load(self.key_file)
        return WorkerVaults.open(
            self.vaults, None, keys, now=lambda: self.world.now, new_id=self.world.new_id
        )

    @contextmanager
    def book(self) -> Iterator[PartBook]:
        """The part book."""
        with closing(Ledger.open(f"sqlite:///{self.vaults.parent / 'ledger.db'}")) as ledger:
            yield PartBook(ledger)

    def run(self, command: str, *words: str) -> Result:
        return CliRunner().invoke(vault_app, [command, *words, "--config", str(self.config)])

    def listed(self, *words: str) -> list[dict[str, Any]]:
        result = self.run("list", "--json", *words)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def damage(self, name: str) -> None:
        """Change a byte in the middle of a vault's indexes."""
        for file in (self.vaults / name).rglob("*.index"):
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(data)

    def holds(self) -> dict[object, int]:
        """How many holds are on the first content, by vault."""
        digest = self.digests[0].hex()
        return {one["vault"]: len(one["holds"]) for one in self.listed() if one["digest"] == digest}

    def key_count(self) -> int:
        """Keys in the key file."""
        lines = self.key_file.read_text().splitlines()
        return len([line for line in lines if not line.startswith("#")])

    def erased(self) -> set[tuple[object, object]]:
        """Vaults and contents that are erased."""
        return {(one["vault"], one["digest"]) for one in self.listed() if one["erased"]}


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    for name in ("REASSOC_VAULT_KEY", "REASSOC_VAULT_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Filled(tmp_path)


def test_all_vaults_are_verified_or_one(filled: Filled) -> None:
    result = filled.run("verify")
    assert (result.exit_code, "4 contents are whole" in result.output) == (0, True), result.output
    (file,) = (filled.vaults / "w1").rglob("*.data")
    data = bytearray(file.read_bytes())
    data[500] ^= 1
    file.write_bytes(data)
    result = filled.run("verify")
    assert result.exit_code == 1
    assert f"w1/segments/{file.name}, bytes 16 to " in result.stdout
    assert filled.run("verify", "--vault", "w0").exit_code == 0
    assert filled.run("verify", "--vault", "w1").exit_code == 1
    result = filled.run("verify", "--vault", "w7")
    assert (result.exit_code, "there are w0, w1" in result.output) == (1, True)


def test_what_the_part_book_names_must_be_there(filled: Filled) -> None:
    gone, far = b"g" * 32, b"v" * 32
    with filled.book() as book:
        book.remember([Part(b"x" * 32, 0, 7, "w1", gone, 0, b"", logged=True)])
        book.remember_copies([Part(OTHER, 0, 200, "w9", far, 0, b"")])
    result = filled.run("verify")
    assert (result.exit_code, "2 damages" in result.output) == (1, True), result.output
    (missing,) = (line for line in result.stdout.splitlines() if gone.hex() in line)
    assert missing.startswith(f"w1: content {gone.hex()}: the part book has parts of 1 files in it")
    assert "w9: the vault is not there, and the part book has 1 contents in it" in result.stdout
    assert filled.run("verify", "--vault", "w0").exit_code == 0
    assert filled.run("verify", "--vault", "w1").exit_code == 1


def test_an_erased_content_is_not_missing(filled: Filled) -> None:
    digest = filled.digests[1].hex()
    assert filled.run("erase", digest, "--why", "asked for", "--who", "us").exit_code == 0
    result = filled.run("verify")
    assert (result.exit_code, digest in result.output) == (0, False), result.output


def test_contents_that_no_book_names_are_shown(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker stored that was killed before it told the book. Of what was stored a moment ago
    it may not have been told yet."""
    first, _, third = (digest.hex() for digest in filled.digests)
    monkeypatch.setattr(vault_commands, "utc_now", lambda: filled.world.now + timedelta(minutes=9))
    assert "does not name it" not in filled.run("verify").output
    monkeypatch.setattr(vault_commands, "utc_now", lambda: filled.world.now + timedelta(minutes=11))
    result = filled.run("verify")
    assert result.exit_code == 0, result.output
    shown = [line for line in result.stdout.splitlines() if "does not name it" in line]
    assert [line.split(",")[0] for line in shown] == [
        f"w1: content {digest}" for digest in (third, first)
    ]
    with filled.book() as book:
        book.remember_copies([Part(OTHER, 0, 200, "w1", filled.digests[2], 0, b"")])
    assert third not in filled.run("verify").output


def test_vaults_are_verified_where_the_part_book_is_away(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database at all" * 100)
    result = filled.run("verify")
    assert (result.exit_code, "is not compared" in result.output) == (1, True), result.output
    assert "4 contents hang on it" in result.output


def test_a_vault_that_does_not_open_keeps_no_other_from_being_looked_at(filled: Filled) -> None:
    (filled.vaults / "w0" / "head").write_bytes(b"no head")
    result = filled.run("verify")
    assert (result.exit_code, "1 damages" in result.output) == (1, True)
    assert "2 contents hang on it" in result.output
    result = filled.run("list", "--json")
    assert (result.exit_code, "w0: " in result.stderr) == (1, True)
    assert {json.loads(line)["vault"] for line in result.stdout.splitlines()} == {"w1"}


def test_contents_are_listed_with_their_vaults(filled: Filled) -> None:
    first, second, third = (digest.hex() for digest in filled.digests)
    found = {(each["vault"], each["digest"]) for each in filled.listed()}
    assert found == {("w0", first), ("w0", second), ("w1", third), ("w1", first)}
    assert {each["vault"] for each in filled.listed("--vault", "w1")} == {"w1"}
    shown = filled.run("list").output
    assert "w1" in shown
    assert third[:16] in shown


def test_a_file_is_found_by_an_item(filled: Filled) -> None:
    item = f"{FILE[:8].hex()}-120"
    result = filled.run("find", item, "--json")
    assert result.exit_code == 0, result.output
    found = {each["content"]: each for each in map(json.loads, result.stdout.splitlines())}
    first, second = (digest.hex() for digest in filled.digests[:2])
    assert found == {
        first: {"vault": "w0", "content": first, "bytes": 600, "other_files": 1, "copy": False},
        second: {"vault": "w0", "content": second, "bytes": 900, "other_files": 0, "copy": False},
    }
    shown = filled.run("find", FILE.hex())
    assert (shown.exit_code, second[:16] in shown.output) == (0, True)
    assert filled.run("find", "0" * 16).exit_code == 1
    assert filled.run("find", FILE.hex()[:-1] + "0").exit_code == 1
    assert filled.run("find", "no item").exit_code == 2


def test_a_copy_of_a_file_is_found(filled: Filled) -> None:
    first, _, third = filled.digests
    with filled.book() as book:
        book.remember_copies(
            [
                Part(OTHER, 0, 200, "w1", third, 0, b""),
                Part(FILE, 0, 500, "w1", third, 200, b""),
            ]
        )
    result = filled.run("find", OTHER.hex(), "--json")
    assert [*map(json.loads, result.stdout.splitlines())] == [
        {"vault": "w0", "content": first.hex(), "bytes": 200, "other_files": 1, "copy": False},
        {"vault": "w1", "content": third.hex(), "bytes": 200, "other_files": 1, "copy": True},
    ]
    assert "copy" in filled.run("find", OTHER.hex()).output


def test_every_copy_is_held_and_erased(filled: Filled) -> None:
    first, second = (digest.hex() for digest in filled.digests[:2])
    words = (first[:12], "--who", "counsel", "--why", "case 1")
    assert filled.run("hold", *words).exit_code == 0
    assert filled.holds() == {"w0": 1, "w1": 1}
    result = filled.run("erase", *words)
    assert (result.exit_code, "legal hold" in result.output) == (1, True)
    assert filled.erased() == set()
    assert filled.run("unhold", *words).exit_code == 0
    assert filled.holds() == {"w0": 0, "w1": 0}
    assert filled.run("erase", *words).exit_code == 0
    assert filled.erased() == {("w0", first), ("w1", first)}
    result = filled.run("erase", *words)
    assert (result.exit_code, "is erased already" in result.output) == (1, True)
    assert filled.run("erase", second, "--why", "a request").exit_code == 0
    assert filled.erased() == {("w0", first), ("w1", first), ("w0", second)}
    assert filled.run("verify").exit_code == 0


def test_a_copy_that_must_be_kept_keeps_all(filled: Filled) -> None:
    digest = filled.digests[0]
    keys = FileKeyRing.load(filled.key_file)
    with filled.world.open(filled.vaults / "w1", keys) as vault:
        vault.hold(digest, "case 1", "counsel")
    result = filled.run("erase", digest.hex(), "--why", "x")
    assert (result.exit_code, "legal hold" in result.output) == (1, True)
    assert filled.erased() == set()


def test_while_a_worker_writes_nothing_is_changed(filled: Filled) -> None:
    digest = filled.digests[0].hex()
    with closing(filled.open()) as own:
        assert own.name == "w1"
        for words in (("hold", digest), ("erase", digest)):
            result = filled.run(*words, "--why", "x")
            assert (result.exit_code, "another process writes" in result.output) == (1, True)
        assert filled.run("verify").exit_code == 0
    assert all(each["erased"] is None and not each["holds"] for each in filled.listed())


def test_holds_that_are_not_on_every_copy_are_lifted(filled: Filled) -> None:
    digest = filled.digests[0].hex()
    words = (digest, "--who", "counsel", "--why", "case 1")
    assert filled.run("hold", *words, "--vault", "w1").exit_code == 0
    assert filled.run("hold", *words).exit_code == 0
    assert filled.holds() == {"w0": 1, "w1": 2}
    result = filled.run("unhold", *words)
    assert (result.exit_code, "1 are left" in result.output) == (0, True)
    assert filled.run("unhold", *words).exit_code == 0
    assert filled.holds() == {"w0": 0, "w1": 0}
    result = filled.run("unhold", *words)
    assert (result.exit_code, "is not held" in result.output) == (1, True)


def test_what_was_not_erased_everywhere_is_told(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = filled.digests[0].hex()
    erase, calls = Vault.erase, []

    def fails_once(vault: Vault, *words: Any) -> None:
        calls.append(words)
        if len(calls) == 1:
            raise VaultError("the disk is full")
        erase(vault, *words)

    monkeypatch.setattr(Vault, "erase", fails_once)
    result = filled.run("erase", digest, "--why", "x")
    assert result.exit_code == 1
    assert "w0: was not changed: the disk is full" in result.output
    assert "1 of w0, w1 were not changed" in result.output
    assert filled.erased() == {("w1", digest)}
    assert filled.run("erase", digest, "--why", "x", "--vault", "w0").exit_code == 0
    assert filled.erased() == {("w0", digest), ("w1", digest)}


def test_keys_are_rotated_in_every_vault(filled: Filled) -> None:
    result = filled.run("rotate", "--new-key", "--vault", "w0")
    assert (result.exit_code, filled.key_count()) == (2, 1)
    result = filled.run("rotate", "--new-key")
    assert result.exit_code == 0, result.output
    assert "4 data keys wrapped anew" in result.output
    lines = filled.key_file.read_text().splitlines()
    keys = [line for line in lines if not line.startswith("#")]
    # The old key is not needed any more.
    filled.key_file.write_text(keys[1] + "\n")
    assert filled.run("verify").exit_code == 0


def test_while_a_worker_writes_no_key_is_changed(filled: Filled) -> None:
    with closing(filled.open()):  # it has the old key only, and reads the other vaults with it
        result = filled.run("rotate", "--new-key")
        assert (result.exit_code, "another process writes" in result.output) == (1, True)
    assert filled.key_count() == 1
    assert {each["key"] for each in filled.listed()} == {"1"}


def test_a_damaged_vault_keeps_no_other_from_a_new_key(filled: Filled) -> None:
    filled.damage("w0")
    result = filled.run("rotate", "--new-key")
    assert (result.exit_code, "1 of the vaults are left" in result.output) == (1, True)
    assert "w0: " in result.output
    assert {each["key"] for each in filled.listed("--vault", "w1")} != {"1"}


def test_where_there_is_no_vault_nothing_is_whole(filled: Filled) -> None:
    filled.config.write_text(filled.config.read_text().replace('/vault"', '/elsewhere"'))
    for words in (["verify"], ["list"], ["rotate", "--new-key"]):
        result = filled.run(*words)
        assert (result.exit_code, "there is no vault" in result.output) == (1, True)
    assert filled.key_count() == 1


def test_words_of_people_are_no_markup(filled: Filled) -> None:
    digest = filled.digests[1].hex()
    assert filled.run("hold", digest, "--why", "see [/b] 7", "--who", "[red]").exit_code == 0
    result = filled.run("list", "--vault", "w0")
    assert (result.exit_code, "see [/b] 7" in result.output) == (0, True)


def test_a_database_that_is_away_is_told(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database at all" * 100)
    result = filled.run("find", FILE.hex())
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "words", [[], ["--home", "x", "--config", "y"], ["--home", "x", "--vault", "w0"]]
)
def test_it_is_said_which_vaults(words: list[str]) -> None:
    result = CliRunner().invoke(vault_app, ["verify", *words])
    assert (result.exit_code, "give --home DIR or --config" in result.output) == (2, True)


def test_a_wrong_configuration_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "reassoc.toml"
    wrong.write_text("[vault]\nurll = 'x'\n")
    for words in (["list"], ["find", "0" * 16]):
        result = CliRunner().invoke(vault_app, [*words, "--config", str(wrong)])
        assert (result.exit_code, "vault.urll" in result.output) == (2, True)
