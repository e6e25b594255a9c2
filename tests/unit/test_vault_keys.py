"""Master keys: files and environment variables, and what is refused."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from vault_build import KEY_A, KEY_B

from reassoc.stream import vault_keys
from reassoc.stream.vault_errors import KeyMissingError, VaultError, WrongKeyError
from reassoc.stream.vault_keys import FileKeyRing, open_key_ring

A64, B64 = base64.b64encode(KEY_A).decode(), base64.b64encode(KEY_B).decode()


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_first_start_makes_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    made = open_key_ring(path, {}, may_create=True, random=lambda size: bytes(range(size)))
    assert path.stat().st_mode & 0o777 == 0o600
    wrapped = made.wrap(KEY_B, b"x")
    again = open_key_ring(path, {}, may_create=False)
    assert again.unwrap("1", wrapped, b"x") == KEY_B
    assert again.where == str(path)
    with pytest.raises(VaultError, match="is there already"):
        FileKeyRing.create(path, "1")


def test_no_key_is_made_for_a_vault_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    with pytest.raises(KeyMissingError, match=r"vault\.key: the key file is missing"):
        open_key_ring(path, {}, may_create=False)
    assert not path.exists()


def test_a_new_key_is_added_as_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    wrapped = FileKeyRing.create(path, "old").wrap(KEY_A, b"")
    (tmp_path / "vault.key.new").write_text("what a crash left")
    ring = FileKeyRing.add(path, "new")
    assert list(ring.ids) == ["old", "new"]
    assert ring.unwrap("old", wrapped, b"") == KEY_A
    assert ring.unwrap("new", ring.wrap(KEY_A, b""), b"") == KEY_A
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["vault.key"]
    with pytest.raises(VaultError, match="has a key 'new' already"):
        FileKeyRing.add(path, "new")


@pytest.mark.parametrize(
    ("text", "ids"),
    [(A64, ["1"]), (f"x:{A64}", ["x"]), (f" x:{A64} , y:{B64}", ["x", "y"])],
)
def test_keys_in_the_environment(tmp_path: Path, text: str, ids: list[str]) -> None:
    ring = open_key_ring(tmp_path / "none", {"REASSOC_VAULT_KEY": text}, may_create=True)
    assert list(ring.ids) == ids
    assert "REASSOC_VAULT_KEY" in ring.where
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not base64!", "key 1 is not base64"),
        (A64[:-8], "key 1 is not"),
        (f"x:{A64},x:{B64}", "key 2 has the id of another one"),
        (f"a b:{A64}", "key 1 is not an id"),
        (f"{A64},", "key 2"),
    ],
)
def test_bad_keys_in_the_environment(text: str, message: str) -> None:
    with pytest.raises(VaultError, match=message) as caught:
        FileKeyRing.parse(text, "the variable")
    assert A64[:20] not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: write(path, f"1 {A64}\n", 0o640), "others can read the key"),
        (lambda path: write(path, f"1 {A64}\n", 0o604), "others can read the key"),
        (lambda path: write(path, "# nothing\n"), "holds no key"),
        (lambda path: write(path, f"1 {A64} more\n"), "line 1 is not an id and a key"),
        (lambda path: write(path, f"1 {A64}\n1 {B64}\n"), "key 2 has the id of another"),
        (lambda path: write(path, "1 AAAA\n"), "key 1 is not"),
        (lambda path: write(path, "é"), "is no key file"),
        (lambda path: write(path, "#" * (vault_keys.KEY_FILE_BYTES_MAX + 1)), "is no key file"),
        (lambda path: path.mkdir(), "cannot be read"),
    ],
)
def test_bad_key_files(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "vault.key")
    with pytest.raises(VaultError, match=message) as caught:
        open_key_ring(tmp_path / "vault.key", {}, may_create=True)
    assert str(tmp_path / "vault.key") in str(caught.value)


def test_keys_that_do_not_fit() -> None:
    one, other = FileKeyRing({"1": KEY_A}, "one"), FileKeyRing({"1": KEY_B}, "other")
    wrapped = one.wrap(KEY_A, b"x")
    with pytest.raises(WrongKeyError, match="other: key '1' is not the one"):
        other.unwrap("1", wrapped, b"x")
    with pytest.raises(WrongKeyError):
        one.unwrap("1", wrapped[:5], b"x")
    with pytest.raises(KeyMissingError, match="one: has no key '2'"):
        one.unwrap("2", wrapped, b"x")
    assert repr(KEY_A) not in repr(one)
