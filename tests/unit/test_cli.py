"""The command line: what it says, what it refuses, how it ends."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import date
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer
from small_feed import Entry, ach_file, interchange, remittance
from typer.testing import CliRunner, Result

from reassoc.stream import cli


def run(*arguments: object) -> Result:
    texts = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli.app, texts, env={"COLUMNS": "250"})


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    folder = tmp_path / "feed"
    folder.mkdir()
    (folder / "a").write_bytes(interchange(remittance("T1", 120_000)))
    (folder / "b").write_bytes(ach_file(Entry(120_000, "T1")))
    return folder


def test_help_names_every_command_and_option() -> None:
    text = run("--help").output + run("match", "--help").output + run("inspect", "--help").output
    for word in ("match", "inspect", "--out", "--as-of", "--policy", "--json", "--mask", "--limit"):
        assert word in text
    assert run("--version").output.startswith("reassoc ")


def test_json_is_all_that_stdout_holds(feed: Path, tmp_path: Path) -> None:
    result = run("match", feed, "--out", tmp_path / "out", "--as-of", "2026-03-16", "--json")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["released"]["total"] == {"count": 1, "cents": 120_000}
    assert summary["matches"]["by_tier"] == {"T1": {"count": 1, "cents": 120_000}}
    assert summary["payments"]["by_funding"] == {"settled": {"count": 1, "cents": 120_000}}


def test_a_result_inside_of_the_input_folder_is_not_its_own_input(feed: Path) -> None:
    for number in (1, 2):
        out = feed / f"result{number}"
        run("match", feed, "--out", out, "--as-of", "2026-03-16")
        inputs = json.loads((out / "summary.json").read_text())["inputs"]
        assert (inputs["read"], inputs["unreadable"]) == (2, [])
        assert [problem["file"] for problem in inputs["passed_over"]] == ["result1"][: number - 1]


def test_the_table_says_what_happened(feed: Path, tmp_path: Path) -> None:
    result = run("match", feed, "--out", tmp_path / "out", "--as-of", "2026-03-15")
    assert result.exit_code == 0
    for words in (
        "2 files read (1 X12, 1 ACH)",
        "Money as of 2026-03-15",
        "1,200.00",
        "not settled",
    ):
        assert words in " ".join(result.stdout.split())


def test_unreadable_input_ends_with_1_and_the_rest_is_processed(feed: Path, tmp_path: Path) -> None:
    (feed / "letter").write_bytes(b"Dear all,\n")
    result = run("match", feed, "--out", tmp_path / "out", "--as-of", "2026-03-16")
    assert result.exit_code == 1
    assert "could not be read: letter: neither X12 nor ACH" in " ".join(result.stdout.split())
    assert len((tmp_path / "out" / "matches.csv").read_text().splitlines()) == 2


def test_wrong_usage_ends_with_2_and_writes_nothing(feed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    policy = tmp_path / "policy.toml"
    for text, words in [
        ("trace_window_days = true", "trace_window_days"),
        ("no_such_key = 1", "no_such_key"),
        ("[[payers]]\nids = 7", "payers[0].ids"),
        ("trace_window_days = -1", "trace_window_days"),
        ("a = = b", "not TOML"),
    ]:
        policy.write_text(text)
        result = run("match", feed, "--out", out, "--policy", policy)
        assert (result.exit_code, words in result.stderr) == (2, True), (text, result.stderr)
        assert "policy.toml" in result.stderr.replace("\n", "")
    assert run("match", feed, "--out", out, "--policy", tmp_path / "none").exit_code == 2
    for day in ("16.3.2026", "20260316", "2026-W12-1", "2026-02-30"):
        assert run("match", feed, "--out", out, "--as-of", day).exit_code == 2
    assert run("match", tmp_path / "none", "--out", out).exit_code == 2
    assert run("match", feed).exit_code == 2
    assert run("inspect", tmp_path / "none").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed", "policy.toml"]


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--directory", "[[payees]]\nname = 7", "payees[0].name"),
        ("--directory", "[[nobody]]", "nobody"),
        ("--directory", "a = = b", "not TOML"),
        ("--layout", "a = = b", "not TOML"),
        ("--layout", "no_such_key = 1", "no_such_key"),
    ],
)
def test_a_directory_or_layout_that_is_none_ends_with_2(
    feed: Path, tmp_path: Path, option: str, text: str, words: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    result = run("match", feed, "--out", tmp_path / "out", option, path)
    message = "".join(result.stderr.split())
    assert (result.exit_code, "".join(words.split()) in message) == (2, True), result.stderr
    assert "settings.toml" in message
    assert run("match", feed, "--out", tmp_path / "out", option, tmp_path / "no").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_unknown_payees_are_quarantined_and_shown(feed: Path, tmp_path: Path) -> None:
    path = tmp_path / "directory.toml"
    path.write_text('[[payees]]\nname = "Another Clinic"\ntenant = "t"\nnpis = ["1999999976"]\n')
    result = run("match", feed, "--out", tmp_path / "out", "--directory", path)
    assert result.exit_code == 0
    assert "quarantined" in result.stdout
    assert "the directory does not know the payee" in (tmp_path / "out/payments.csv").read_text()


def test_a_second_run_into_the_same_folder_says_so(feed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("match", feed, "--out", out).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}
    result = run("match", feed, "--out", out)
    assert result.exit_code == 2
    assert "already holds a run" in " ".join(result.stderr.split())
    assert {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))} == before
    result = run("match", feed, "--out", feed)
    assert (result.exit_code, "not an empty folder" in result.stderr.replace("\n", " ")) == (
        2,
        True,
    )


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_result_that_cannot_be_shown_is_there(
    feed: Path, tmp_path: Path, flags: list[str]
) -> None:
    out = tmp_path / "out"
    with open("/dev/full", "w") as full:
        ended = main("match", feed, "--out", out, "--as-of", "2026-03-16", *flags, stdout=full)
    assert ended.returncode == 1
    assert "is complete, but showing it failed" in ended.stderr
    assert (out / "summary.json").exists()


def test_a_terminal_of_another_encoding_is_no_fault(feed: Path) -> None:
    ended = main("inspect", feed / "a", stdout=subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "RIVER CLINIC" in ended.stdout


def test_inspect_in_a_narrow_terminal_shows_whole_numbers(feed: Path) -> None:
    text = CliRunner().invoke(cli.app, ["inspect", str(feed / "b")], env={"COLUMNS": "80"}).output
    assert "…" not in text
    assert (run("inspect", "/dev/null").exit_code, run("inspect", feed).exit_code) == (2, 2)


def main(*arguments: object, stdout: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    code = "from reassoc.stream.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_the_day_is_new_yorks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs((cli.today_in_new_york() - date.today()).days) <= 1


def test_commands_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("works", "test_cli:plugin", cli.COMMAND_GROUP),
        EntryPoint("broken", "no_such_module:command", cli.COMMAND_GROUP),
    ]
    app = typer.Typer()
    app.command("other")(plugin)
    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(cli, "entry_points", lambda group: points)
    cli.add_plugins()
    assert run("works").output == "it works\n"
    result = run("broken")
    assert result.exit_code == 2
    assert "no_such_module" in result.stderr
    assert "could not be loaded" in result.stderr


def plugin() -> None:
    """A command."""
    typer.echo("it works")


def test_inspect_shows_both_kinds_and_archives(feed: Path) -> None:
    text = run("inspect", feed / "a").output
    for words in ("X12", "1,200.00", "EXAMPLE HEALTH", "DOE, JANE", "5566778", "1 835s"):
        assert words in text
    masked = run("inspect", feed / "a", "--mask").output
    assert "EXAMPLE HEALTH" in masked
    for value in ("DOE", "JANE", "5566778", "RIVER", "1999999984", "A1", "M1"):
        assert value not in masked
    text = run("inspect", feed / "b", "--limit", "1").output
    for words in ("ACH", "1,200.00", "RIVER CLINIC", "HCCLAIMPMT"):
        assert words in text
    assert "RIVER" not in run("inspect", feed / "b", "--mask").output


def test_misspelt_keys_are_named_in_plain_words(feed: Path, tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    for option, text, said in (
        ("--policy", "trace_window_dayz = 5", "f.toml: unknown key `trace_window_dayz`"),
        ("--policy", '[[payers]]\nname = "A"\nid = []', "key payers[0]: unknown key `id`"),
        ("--directory", '[[payees]]\nname = "A"\ntin = []', "payees[0]: unknown key `tin`"),
        ("--directory", '[[payees]]\ntins = ["112223333"]', "payees[0]: missing key `name`"),
        ("--layout", 'name = "A"\nformat = "csv"', "missing key `recognise`"),
    ):
        file.write_text(text)
        result = run("match", feed, "--out", tmp_path / "out", option, file)
        assert result.exit_code == 2
        assert said in result.stderr


def test_a_layout_that_fits_nothing_says_so(feed: Path, tmp_path: Path) -> None:
    (feed / "list.csv").write_text("Check,Amount\n1,2.00\n")
    layout = tmp_path / "bank.toml"
    layout.write_text(
        'name = "A"\nformat = "csv"\nheader_rows = 1\n[recognise]\nfirst_line = "^Nummer"\n'
        '[fields]\namount = { column = "Amount" }\n'
    )
    arguments = ["match", feed, "--layout", layout, "--as-of", "2026-03-16", "--out"]
    result = run(*arguments, tmp_path / "a")
    assert result.exit_code == 1
    assert "a lockbox list needs a layout that recognises it" in " ".join(result.stdout.split())
    assert "no input is a list that a layout recognises" in result.stderr
    layout.write_text(layout.read_text().replace("^Nummer", "^Check"))
    result = run(*arguments, tmp_path / "b")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["import", "--template"]])
def test_a_terminal_that_takes_no_more_is_said(words: list[str]) -> None:
    program = [sys.executable, "-c", "from reassoc.stream.cli import main; main()", *words]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 1
    assert ended.stderr.split(b"\n")[-2:] == [
        b"reassoc: the terminal: cannot be written: No space left on device",
        b"",
    ]


def test_an_empty_word_is_a_variable_that_was_not_set() -> None:
    program = [sys.executable, "-c", "from reassoc.stream.cli import main; main()", "open", ""]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "reassoc: word 2 of the command is empty: was a variable not set?\n"


def test_a_socket_or_a_file_that_fails_is_not_the_terminal() -> None:
    for error in (BrokenPipeError(errno.EPIPE, "x"), OSError(errno.ENOSPC, "x")):
        program = (
            "import sys; from reassoc.stream import cli\n"
            "def fail():\n"
            f"    raise {type(error).__name__}({error.errno}, 'x')\n"
            "cli.app, cli.add_plugins = fail, lambda: None\n"
            "sys.argv = ['reassoc']; cli.main()\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert ended.returncode == 1
        assert b"internal error: " in ended.stderr
