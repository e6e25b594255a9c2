"""The main job from files to a result folder: what must hold of any run."""

from __future__ import annotations

import csv
import functools
import gzip
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from datetime import date
from pathlib import Path

import pytest
from corpus import DATA_ROOT
from small_feed import Entry, Marks, ach_file, interchange, remittance
from x12_peers import oxedi_sums

from reassoc.core.ach import iter_ach
from reassoc.core.policy import Policy
from reassoc.core.x12_835 import iter_835, read_835
from reassoc.loadtest.feed import FeedOptions, generate_feed
from reassoc.stream import intake, job
from reassoc.stream.job import run_match
from reassoc.stream.layouts import load_layout
from reassoc.stream.outputs import OutputError
from reassoc.stream.settings import read_directory
from reassoc.stream.summary import Summary

DAY = date(2026, 3, 16)


def run(feed: Path, out: Path, *, as_of: date = DAY, workers: int = 2) -> Summary:
    return run_match([feed], out, as_of=as_of, policy=Policy(), worker_count=workers)


def rows(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def tree(out: Path) -> dict[str, bytes]:
    """Every file of a result but summary.json, which holds the time it took."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "summary.json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(files)}


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "feed"
    generate_feed(folder, FeedOptions(payments=600, seed=11, claims=4.0, defects=True))
    return folder


def released_sets(out: Path) -> tuple[list[bytes], int, int]:
    """ST..SE of all that was released, sorted; its cents by our scanner and by another reader."""
    sets, cents, peer_cents = [], 0, 0
    controls, groups = [], []
    for path in sorted((out / "released").iterdir()):
        data = path.read_bytes()
        x12 = read_835(data)
        assert x12.interchanges.valid.all()
        assert x12.groups.valid.all()
        assert x12.transactions.valid.all()
        assert data[103:104] != b" "
        controls += x12.interchanges.control_number.to_list()
        groups += x12.groups.control_number.to_list()
        table = x12.transactions
        sets += [data[a:b] for a, b in zip(table.offset.tolist(), table.end.tolist(), strict=True)]
        cents += sum(table.paid_cents.tolist())
        sums = oxedi_sums(data)
        assert not isinstance(sums, str)
        peer_cents += sums.paid_cents
    assert len(set(controls)) == len(controls)
    assert len(set(groups)) == len(groups)
    return sorted(sets), cents, peer_cents


def source_sets(feed: Path, chosen: list[dict[str, str]]) -> list[bytes]:
    """ST..SE of remittances as they lie in the X12 files of a feed, sorted."""
    by_file: dict[str, list[int]] = {}
    for row in chosen:
        by_file.setdefault(row["remit_file"], []).append(int(row["remit_ordinal"]))
    sets = []
    for name, ordinals in by_file.items():
        data = (feed / name).read_bytes()
        table = read_835(data).transactions
        sets += [data[int(table.offset[row]) : int(table.end[row])] for row in ordinals]
    return sorted(sets)


def test_a_generated_feed_is_matched_as_its_truth_says(feed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run_match(
        [feed],
        out,
        as_of=date(2026, 12, 31),
        policy=Policy(),
        directory=read_directory(feed / "directory.toml"),
        layouts=[load_layout(path) for path in feed.glob("*.layout.toml")],
    )
    with (feed / "truth.csv").open(newline="") as file:
        truth = list(csv.DictReader(file))
    keys = ("remit_file", "remit_ordinal", "payment_file", "payment_ordinal", "payment_trace")
    pairs = {
        tuple(row[key] for key in keys)
        for row in truth
        if row["remit_file"] and row["payment_file"] and row["expect"] != "unmatched"
    }
    found = {tuple(row[key] for key in keys): row for row in rows(out, "matches.csv")}
    assert {pair for pair, row in found.items() if row["status"] == "auto"} <= pairs
    assert set(found) >= pairs
    remittances, payments = rows(out, "remittances.csv"), rows(out, "payments.csv")
    for side, found_rows, total in (
        ("remit", remittances, summary.remittances.total.count),
        ("payment", payments, summary.payments.total.count),
    ):
        key = (f"{side}_file", f"{side}_ordinal")
        named = {(row[key[0]], row[key[1]]) for row in truth if row[key[0]]}
        assert {(row[key[0]], row[key[1]]) for row in found_rows} == named
        assert len(found_rows) == len(named) == total
    cases = {(row["remit_file"], row["remit_ordinal"]): row["case"] for row in truth}
    for row in remittances:
        case = cases[row["remit_file"], row["remit_ordinal"]]
        if case in ("clean", "ctx", "leading_zeros_lost", "zero_pay"):
            assert row["status"] == "released", (case, row)
        if case.startswith("invalid") or case in ("missing_payment", "check", "amount_variance"):
            assert row["status"] != "released", (case, row)
        assert (row["status"] == "released") == bool(row["released_file"])
    released = [row for row in remittances if row["status"] == "released"]
    sets, cents, peer_cents = released_sets(out)
    plain = [row for row in released if row["remit_file"].startswith("835/")]
    assert set(source_sets(feed, plain)) <= set(sets)
    assert len(sets) == len(released) == summary.released.total.count
    assert cents == peer_cents == sum(int(row["remit_cents"]) for row in released)
    assert summary.inputs.unreadable == []


def test_workers_and_their_timing_change_nothing(feed: Path, tmp_path: Path) -> None:
    results = [tree_of(feed, tmp_path / str(workers), workers) for workers in (1, 2, 7)]
    assert results[0] == results[1] == results[2]


def tree_of(feed: Path, out: Path, workers: int) -> dict[str, bytes]:
    run(feed, out, workers=workers)
    return tree(out)


def test_compressed_inputs_give_the_same_but_for_their_names(feed: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    names = {}
    with zipfile.ZipFile(packed / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, path in enumerate(sorted((feed / "835").rglob("*.835"))):
            name = path.relative_to(feed).as_posix()
            # Every other one is a gzip inside the archive.
            data = path.read_bytes()
            archive.writestr(name, gzip.compress(data) if number % 2 else data)
            names[f"all.zip!{name}"] = name
    for path in (*(feed / "ach").rglob("*.ach"), *(feed / "bank").rglob("*.bai2")):
        name = path.relative_to(feed).as_posix()
        (packed / name).parent.mkdir(parents=True, exist_ok=True)
        (packed / name).write_bytes(gzip.compress(path.read_bytes()))
    (feed / "lockbox").rename(tmp_path / "lockbox")
    run(feed, tmp_path / "plain_out")
    (tmp_path / "lockbox").rename(feed / "lockbox")
    run(packed, tmp_path / "packed_out")
    plain, other = (
        rows(tmp_path / "plain_out", "matches.csv"),
        rows(tmp_path / "packed_out", "matches.csv"),
    )
    for row in other:
        row["remit_file"] = names.get(row["remit_file"], row["remit_file"])
    key = functools.partial(sorted, key=lambda row: (row["remit_file"], int(row["remit_ordinal"])))
    assert key(plain) == key(other)
    assert released_sets(tmp_path / "plain_out") == released_sets(tmp_path / "packed_out")


def test_an_envelope_that_ends_wrong_in_a_later_window_spoils_all_that_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [remittance(f"T{n}", n, control=f"{n:04d}") for n in range(1, 41)]
    entries = [Entry(n, f"T{n}") for n in range(1, 41)]
    good = [remittance(f"G{n}", n, control=f"{n:04d}") for n in range(1, 41)]
    entries += [Entry(n, f"G{n}") for n in range(1, 41)]
    feed = write(
        tmp_path / "feed",
        x=interchange(*sets, set_count=39) + interchange(*good, number=2),
        y=ach_file(*entries),
    )
    monkeypatch.setattr(intake, "iter_835", functools.partial(iter_835, window_bytes=1500))
    run(feed, tmp_path / "out")
    for row in rows(tmp_path / "out", "remittances.csv"):
        good_one = row["trace"].startswith("G")
        assert row["status"] == ("released" if good_one else "invalid")
        assert ("group's count" in row["why"]) == (not good_one)
    assert {row["status"] for row in rows(tmp_path / "out", "matches.csv")} == {"auto"}


def test_an_ach_file_whose_totals_are_wrong_at_its_end_releases_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [remittance(f"T{n}", n, control=f"{n:04d}") for n in range(1, 41)]
    good = ach_file(*(Entry(n, f"T{n}") for n in range(1, 41)))
    at = good.index(b"\n9000040") + 1
    bad = good[: at + 43] + b"000000000001" + good[at + 55 :]
    monkeypatch.setattr(intake, "iter_ach", functools.partial(iter_ach, window_bytes=1000))
    for name, ach, released in (("good", good, 40), ("bad", bad, 0)):
        out = tmp_path / f"{name}_out"
        summary = run(write(tmp_path / name, x=interchange(*sets), y=ach), out)
        assert summary.released.total.count == released
        found = rows(out, "matches.csv")
        assert {row["status"] for row in found} == {"auto"}
        assert {row["funded"] for row in found} == {"true"}


def test_remittances_in_addenda_are_released_from_their_slices(tmp_path: Path) -> None:
    one = remittance("T1", 700)
    bare = remittance("T2", 800)
    payload = interchange(one)
    ach = ach_file(Entry(700, payload=payload), Entry(800, payload=bare), Entry(5, "T9"))
    out = tmp_path / "out"
    run(write(tmp_path / "feed", y=ach), out)
    found = rows(out, "matches.csv")
    assert [
        (row["tier"], row["remit_file"], row["remit_ordinal"], row["payment_ordinal"])
        for row in found
    ] == [
        ("T0", "y", "0", "0"),
        ("T0", "y", "1", "1"),
    ]
    assert released_sets(out)[0] == sorted([one, bare])
    # Without an envelope the transaction says itself who it is from and for.
    assert any("112223333_1234567890" in path.name for path in (out / "released").iterdir())


def test_the_same_content_twice_is_one_set_of_items(tmp_path: Path) -> None:
    x12, ach = interchange(remittance("T1", 700)), ach_file(Entry(700, "T1"))
    out = tmp_path / "out"
    summary = run(write(tmp_path / "feed", a=x12, b=x12, c=ach, d=gzip.compress(ach)), out)
    assert summary.inputs.copies == 2
    statuses = [
        (row["remit_file"], row["status"], row["why"]) for row in rows(out, "remittances.csv")
    ]
    assert statuses == [("a", "released", ""), ("b", "duplicate", "the same file as a")]
    assert [row["status"] for row in rows(out, "payments.csv")] == ["matched", "duplicate"]
    assert len(released_sets(out)[0]) == 1


def test_cells_of_files_cannot_break_the_tables_nor_run_as_formulas(tmp_path: Path) -> None:
    marks = Marks("|", ">", "\x1c")
    odd = remittance('=1+"2",3', 700, marks=marks)
    out = tmp_path / "out"
    feed = write(tmp_path / "feed", a=interchange(odd, marks=marks), b=ach_file(Entry(700, "x")))
    (feed / "b").rename(feed / "-b,\n")
    run(feed, out)
    assert rows(out, "remittances.csv")[0]["trace"] == '\'=1+"2",3'
    assert rows(out, "payments.csv")[0]["payment_file"] == "'-b,?"


def test_no_input_at_all_is_a_result_too(tmp_path: Path) -> None:
    summary = run(write(tmp_path / "feed"), tmp_path / "out")
    assert summary.remittances.total.count == summary.payments.total.count == 0
    assert (tmp_path / "out" / "released").is_dir()
    assert len((tmp_path / "out" / "matches.csv").read_text().splitlines()) == 1


def test_a_failing_run_leaves_nothing(
    feed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "write_tables", fail)
    with pytest.raises(OSError, match="No space"):
        run(feed, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_taken_meanwhile_is_left_alone(
    feed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_tables = job.write_tables

    def taken(*arguments: object) -> None:
        write_tables(*arguments)  # type: ignore[arg-type]
        write(out, other=b"theirs")

    monkeypatch.setattr(job, "write_tables", taken)
    with pytest.raises(OutputError):
        run(feed, out)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "other"]


def test_a_stopped_run_leaves_nothing(feed: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from reassoc.stream import cli, job\n"
        "job.write_tables = lambda *_: (print('here', flush=True), time.sleep(60))\n"
        "cli.main()\n"
    )
    command = [sys.executable, "-c", code, "match", str(feed), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_real_samples_run_through(tmp_path: Path) -> None:
    if not DATA_ROOT.is_dir():
        pytest.skip(f"no samples: {DATA_ROOT} does not exist")
    began = time.monotonic()
    out = tmp_path / "out"
    summary = run_match([DATA_ROOT / "x12", DATA_ROOT / "ach"], out, as_of=DAY, policy=Policy())
    assert time.monotonic() - began < 60
    # Notes, a dump of a parser, and an X12 file without any delimiter at the end of its ISA.
    unreadable = {Path(problem.file).name for problem in summary.inputs.unreadable}
    assert unreadable == {
        "SOURCES.md",
        "sample837-HL-nested-expected.txt",
        "x12.no.line.break.no.delim.txt",  # its ISA has no end that could be told
    }
    assert len(rows(out, "remittances.csv")) == summary.remittances.total.count > 200
    assert len(rows(out, "payments.csv")) == summary.payments.total.count > 200_000
    assert len(rows(out, "findings.csv")) == summary.findings.total
    released_sets(out)
    assert json.loads((out / "summary.json").read_text())["bytes"] == summary.bytes


def test_tenants_links_and_quarantine_are_in_the_tables(feed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    directory = read_directory(feed / "directory.toml")
    summary = run_match([feed], out, as_of=date(2026, 12, 31), policy=Policy(), directory=directory)
    remittances, payments = rows(out, "remittances.csv"), rows(out, "payments.csv")
    tenants = {row["tenant"] for row in remittances if row["status"] != "duplicate"}
    assert tenants == set(summary.remittances.by_tenant)
    assert len(tenants) > 1
    for row in (*remittances, *payments):
        if row["status"] == "quarantined":
            assert "directory" in row["why"]
            assert row["match_id"] == ""
    links = rows(out, "links.csv")
    by_kind = {**summary.links.by_kind, **summary.links.unclear}
    assert {row["kind"] for row in links} == set(by_kind)
    assert "report_of" in by_kind
    known = {(row["payment_file"], row["payment_ordinal"]): row for row in payments}
    for row in links:
        assert int(known[row["payment_file"], row["payment_ordinal"]]["payment_cents"]) == int(
            row["amount_cents"]
        )
        if row["kind"] == "report_of" and row["status"] == "auto":
            assert known[row["payment_file"], row["payment_ordinal"]]["status"] == "reported"
    assert {row["source"] for row in payments} >= {"ach", "bank_ach"}
    statuses = {row["status"] for row in rows(out, "matches.csv")}
    assert statuses == set(summary.matches.by_status)
    ranked = [row for row in rows(out, "matches.csv") if row["status"] == "review"]
    assert all(int(row["rank"]) >= 1 and int(row["remittance_rank"]) >= 1 for row in ranked)
