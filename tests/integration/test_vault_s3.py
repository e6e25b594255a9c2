"""The vault on a server that speaks S3: put, read, erased and found whole, by several processes."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest
from blake3 import blake3
from vault_build import START, World, noise, ring

from reassoc.loadtest.servers.process import ServerProcess, answers, free_port
from reassoc.stream.vault_commit import PUT_MEMORY_MAX
from reassoc.stream.vault_errors import NoContentError, VaultError
from reassoc.stream.worker_vault import WorkerVaults, vault_names, vaults_are_written

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: no S3 to test on")
s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: no S3 to test on")
pytest.importorskip("moto.server", reason="moto's server is not installed: no S3 to test on")

# Sessions of s3fs end with the process, in a thread of fsspec's own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:(aiobotocore|botocore|s3fs)"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

_WORK = """
import os, secrets, sys
from blake3 import blake3
from reassoc.stream.clock import utc_now
from reassoc.stream.vault import Vault
from reassoc.stream.vault_keys import FileKeyRing
url, what, *digests = sys.argv[1:]
keys = FileKeyRing({"a": bytes(range(32))}, "keys")
with Vault.open(
    url, keys, now=utc_now, new_id=lambda: secrets.token_hex(8), read_only=what == "read"
) as vault:
    for digest in map(bytes.fromhex, digests):
        data = vault.read(digest, 0, vault.size(digest))
        print(blake3(data).hexdigest(), flush=True)
    while what == "write":
        data = os.urandom(200_000)
        print(vault.put([data]).digest.hex(), flush=True)
"""
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks S3, with nothing in it."""
    port = free_port()
    server = ServerProcess("moto", tmp_path_factory.mktemp("moto"))
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server.start(command, lambda: answers(port), seconds=60)
    yield f"http://127.0.0.1:{port}"
    server.kill()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a new bucket; the environment says where it is."""
    for name, value in {**_ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    name = f"vault-{secrets.token_hex(4)}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    client.close()
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()


def digest_of(data: bytes) -> bytes:
    return blake3(data).digest()


def test_contents_go_in_and_come_out(bucket: str) -> None:
    world = World()
    small = [noise(seed, 1000 * seed) for seed in range(1, 20)]
    large = noise(99, PUT_MEMORY_MAX + 5_000_000)
    with world.open(f"{bucket}/vault") as vault:
        with vault.batch() as batch:
            for data in small:
                batch.put([data[:100], data[100:]])
        stored = vault.put(large[at : at + 1_000_000] for at in range(0, len(large), 1_000_000))
        assert stored.digest == digest_of(large)
        assert not vault.put([large]).is_new
        assert vault.read(stored.digest, 9_000_000, 9_000_100) == large[9_000_000:9_000_100]
        assert vault.verify() == []
    with world.open(f"{bucket}/vault") as vault:
        for data in [*small, large]:
            assert vault.read(digest_of(data), 0, len(data)) == data
        assert len(list(vault.contents())) == 20
        assert vault.verify() == []


def test_a_reader_of_another_process_sees_what_is_put_and_erased(
    bucket: str, endpoint: str
) -> None:
    world, url = World(), f"{bucket}/vault"
    kept, gone = b"this is kept", b"this is erased"
    with world.open(url) as vault, world.open(url, read_only=True) as reader:
        vault.put([kept])
        vault.put([gone])
        assert reader.read(digest_of(gone), 0, len(gone)) == gone
        # A process that is told of the server in fsspec's own way.
        found = subprocess.run(
            [sys.executable, "-c", _WORK, url, "read", digest_of(kept).hex()],
            env=_process_environment("FSSPEC_S3_ENDPOINT_URL", endpoint),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert found.stdout.decode().split() == [digest_of(kept).hex()]
        vault.erase(digest_of(gone), "asked for", "Ann")
        reader.refresh()
        with pytest.raises(NoContentError, match="was erased"):
            reader.read(digest_of(gone), 0, 1)
        assert reader.read(digest_of(kept), 0, 4) == b"this"
        assert vault.verify() == []


def _process_environment(name: str, endpoint: str) -> dict[str, str]:
    return {**_ENVIRONMENT, name: endpoint, "PATH": "/usr/bin", "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(
    bucket: str, endpoint: str
) -> None:
    url = f"{bucket}/vault"
    acknowledged: list[bytes] = []
    for kill in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WORK, url, "write"],
            env=_process_environment("AWS_ENDPOINT_URL", endpoint),
            stdout=subprocess.PIPE,
        ) as writer:
            assert writer.stdout is not None
            acknowledged += [bytes.fromhex(writer.stdout.readline().decode()) for _ in range(4)]
            writer.kill()
        with World().open(url) as vault:
            for digest in acknowledged:
                assert digest_of(vault.read(digest, 0, vault.size(digest))) == digest
            assert len(list(vault.contents())) >= len(acknowledged) == 4 * (kill + 1)


def test_workers_share_a_bucket_with_a_vault_each(bucket: str) -> None:
    assert not vaults_are_written(bucket)
    with pytest.raises(VaultError, match="name of its own"):
        open_vaults(bucket, None)
    one, two = open_vaults(bucket, "north"), open_vaults(bucket, "south")
    stored = two.put([b"of the south"])
    assert one.read("south", stored.digest) == b"of the south"
    later = two.put([b"later"])
    assert one.read("south", later.digest, 1, 3) == b"at"
    assert one.find(later.digest) == "south"
    with pytest.raises(NoContentError):
        one.read("west", later.digest)
    assert vault_names(bucket) == ["north", "south"]
    one.close()
    two.close()


def open_vaults(url: str, name: str | None) -> WorkerVaults:
    return WorkerVaults.open(
        url, name, ring(), now=lambda: START, new_id=lambda: secrets.token_hex(8)
    )


def test_a_server_that_is_gone_is_an_error_of_the_vault(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(VaultError, match="cannot be opened: the store failed"):
        World().open(f"{bucket}/vault")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(VaultError):
        vaults_are_written(bucket)
