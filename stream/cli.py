"""The command line. Exit codes: 0 all was processed, 1 some input could not be read or a run
failed, 2 wrong usage.
"""

from __future__ import annotations

import errno
import io
import os
import re
import select
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from typer.core import TyperCommand

from reassoc.stream import package_version
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say

# Whatever takes long to load (numpy, SQLAlchemy, the matcher) is imported by the command that needs
# it, so that help, and each command, waits for its own imports only.
if TYPE_CHECKING:
    from reassoc.core.directory import Directory
    from reassoc.core.lockbox import LockboxLayout
    from reassoc.core.policy import Policy
    from reassoc.stream.summary import Summary

COMMAND_GROUP = "reassoc.commands"
"""Entry points of this group are commands too: name -> a function as typer takes it."""

ONE_RUN, WAREHOUSE, KEEPING, MANY, PLUGINS = (
    "Files, once",
    "Warehouse",
    "Keeping a warehouse",
    "A warehouse on many machines",
    "Made-up feeds",
)
"""Headings of `reassoc --help`."""

# Paragraphs are one line each: the terminal's width decides where they wrap.
MATCH_HELP = (
    "Match 835s with payments (ACH, bank reports, checks) and write what may be posted.\n\n"
    "Every file's kind is told from its content. DIR gets matches.csv (one row per pair), "
    "remittances.csv and payments.csv (every item with its status and why), links.csv (returns, "
    "reversals and bank reports with the payments that they are about), findings.csv (what is "
    "wrong and where), summary.json, and released/ with the 835s whose money has settled. "
    "It appears whole or not at all.\n\n"
    "Exit code 0: all was processed. 1: some input could not be read (the rest was processed), "
    "or the run failed. 2: wrong usage, or DIR is taken."
)
INSPECT_HELP = (
    "Show what an X12, ACH or BAI2 file is: its remittances, batches or bank accounts in tables, "
    "with findings where they belong. Lockbox lists are tables already and are not shown."
    "\n\nExit code 0: it was read. 1: it could not be read. 2: wrong usage."
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # A traceback with locals would show what files hold.
    pretty_exceptions_enable=False,
    help="Puts health care payments (ACH, checks, wires) and their remittances (X12 835) together, "
    "exactly, and says what may be posted.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"reassoc {package_version()}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    pass


PathsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH",
        exists=True,
        help="Files or folders with 835s, ACH files, BAI2 bank reports and lockbox lists: plain, "
        "gzip or zip.",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="A new folder for the result.")
]
AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="DATE",
        help="The day (YYYY-MM-DD) by which money must have settled. Default: today in New York.",
    ),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE.toml", help="What may match by itself, windows, trace affixes."
    ),
]
DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        metavar="FILE.toml",
        help="Payees and payers by their identifiers, and whose tenant a payee is. With it, items "
        "of unknown payees are quarantined.",
    ),
]
LayoutOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--layout",
        metavar="FILE.toml",
        help="Where a bank's lockbox list (CSV or fixed width) has its columns; repeatable.",
    ),
]


@app.command("match", help=MATCH_HELP, rich_help_panel=ONE_RUN)
def match_command(
    paths: PathsArgument,
    out: OutOption,
    as_of: AsOfOption = None,
    policy: PolicyOption = None,
    directory: DirectoryOption = None,
    layout: LayoutOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print summary.json on stdout instead of a table.")
    ] = False,
) -> None:
    """`reassoc match`."""
    from rich.console import Console

    from reassoc.core.errors import ReassocError
    from reassoc.stream.console import ProgressBar
    from reassoc.stream.outputs import OutputError, check_free

    day = _parse_day(as_of)
    rules = _policy(policy)
    known = _directory(directory)
    layouts = _layouts(layout or ())
    try:
        check_free(out)
        with ProgressBar(Console(stderr=True)) as progress:
            summary = run_match(
                paths,
                out,
                as_of=day,
                policy=rules,
                directory=known,
                layouts=layouts,
                on_step=progress.step,
                on_advance=progress.advance,
            )
    except OutputError as error:
        fail(str(error), EXIT_USAGE)
    except ReassocError as error:
        fail(f"{error}. Nothing was written.", EXIT_UNREADABLE)
    except OSError as error:
        fail(f"{error.filename or out}: {error.strerror}. Nothing was written.", EXIT_UNREADABLE)
    except KeyboardInterrupt:
        say("stopped" if out.exists() else "stopped; nothing was written")
        raise
    _show(summary, out, as_json=as_json, layouts_given=bool(layouts))


def run_match(paths: Iterable[Path], out: Path, **options: Any) -> Summary:
    """The main job; as `job.run_match`, which is imported when it runs."""
    from reassoc.stream import job

    return job.run_match(list(paths), out, **options)


def _show(summary: Summary, out: Path, *, as_json: bool, layouts_given: bool) -> None:
    """Show a run that is there; ends with EXIT_UNREADABLE where it could not read all."""
    from rich.console import Console

    from reassoc.stream.console import show_summary

    try:
        if as_json:
            sys.stdout.buffer.write(summary.to_json())
            sys.stdout.flush()
        else:
            show_summary(Console(), summary, str(out))
    except OSError as error:
        fail(f"{out} is complete, but showing it failed: {error.strerror}", EXIT_UNREADABLE)
    if layouts_given and not summary.inputs.lists:
        say("no input is a list that a layout recognises: see [recognise] in the layouts")
    if summary.inputs.unreadable:
        if as_json:
            for problem in summary.inputs.unreadable:
                say(f"could not be read: {problem.file}: {problem.reason}")
        raise typer.Exit(EXIT_UNREADABLE)


@app.command("inspect", help=INSPECT_HELP, rich_help_panel=ONE_RUN)
def inspect_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or ARCHIVE.zip!MEMBER.")],
    mask: Annotated[
        bool,
        typer.Option(
            "--mask", help="Hide personal data: names, accounts, identifiers, dates of service."
        ),
    ] = False,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=0, metavar="N", help="How many claims, entries or details to show."
        ),
    ] = 50,
) -> None:
    """`reassoc inspect`."""
    from rich.console import Console

    from reassoc.core.errors import ReassocError
    from reassoc.stream.inspect import inspect_file

    path = Path(file)
    member = ""
    if not path.exists() and "!" in file:
        archive, _, member = file.partition("!")
        path = Path(archive)
    if not path.is_file():
        fail(f"{path}: {'not a file' if path.exists() else 'no such file'}", EXIT_USAGE)
    try:
        inspect_file(Console(), path, member, mask=mask, limit=limit)
    except ReassocError as error:
        fail(f"{file}: {error}", EXIT_UNREADABLE)
    except OSError as error:
        fail(f"{file}: {error.strerror}", EXIT_UNREADABLE)


# ---- commands that are imported when they are called ----


Load = Callable[[], Any]
"""Imports a command and gives it."""


def _late_class(load: Load) -> type[TyperCommand]:
    """A class of a command that is imported when it is called. typer makes commands itself, of
    classes that it is given."""

    class LateCommand(TyperCommand):
        def make_context(self, *args: Any, **more: Any) -> Any:
            return load().make_context(*args, **more)

    return LateCommand


class Late(NamedTuple):
    """Where a command is, and its line in `reassoc --help`. what : a function, or a Typer of
    several; help : name of its help text in the module, empty for a Typer"""

    name: str
    module: str
    what: str
    help: str
    panel: str
    line: str


LATE = (
    Late("explain", "result_commands", "explain_command", "EXPLAIN_HELP", ONE_RUN,
         "Show one match of a result as a table a clerk understands."),
    Late("propose", "result_commands", "propose_command", "PROPOSE_HELP", ONE_RUN,
         "Directory entries that an approved review match calls for."),
    Late("serve", "serve_commands", "serve_command", "SERVE_HELP", WAREHOUSE,
         "Run a warehouse in a folder: hold 835s until their money is there, release them."),
    Late("status", "desk_commands", "status_command", "STATUS_HELP", WAREHOUSE,
         "How a warehouse is, and what waits in it."),
    Late("open", "desk_commands", "open_command", "OPEN_HELP", WAREHOUSE,
         "What is open: 835s without money, money without 835s."),
    Late("decide", "decide_commands", "decide_command", "DECIDE_HELP", WAREHOUSE,
         "Decide about items and matches: match, unmatch, release, hold, ..."),
    Late("history", "desk_commands", "history_command", "HISTORY_HELP", WAREHOUSE,
         "Everything that became of an item, in order."),
    Late("matches", "desk_commands", "matches_command", "MATCHES_HELP", WAREHOUSE,
         "Write the pairs that stand as CSV."),
    Late("report", "report_commands", "report_command", "REPORT_HELP", WAREHOUSE,
         "Report on a span of days: tables, CSV, JSON, a page with plots."),
    Late("import", "import_commands", "import_command", "IMPORT_HELP", WAREHOUSE,
         "Bring open items of another system along, from a CSV."),
    Late("backup", "backup_commands", "backup_command", "BACKUP_HELP", KEEPING,
         "Copy a warehouse into a new folder, while it serves."),
    Late("restore", "backup_commands", "restore_command", "RESTORE_HELP", KEEPING,
         "Make a new home of a backup; it releases nothing by itself."),
    Late("doubt", "backup_commands", "doubt_command", "DOUBT_HELP", KEEPING,
         "List released files that nobody knows to be delivered, and say whether they were."),
    Late("resume", "backup_commands", "resume_command", "RESUME_HELP", KEEPING,
         "Let the releases of a restored home go on."),
    Late("vault", "vault_commands", "vault_app", "", KEEPING,
         "The vaults of a home or of workers: look at them, check them, erase, change keys."),
    Late("audit", "ledger_commands", "audit_app", "", KEEPING, "Checks for auditors."),
    Late("worker", "worker_commands", "worker_command", "WORKER_HELP", MANY,
         "Run a worker: as many as there are partitions may run side by side."),
    Late("feed", "feed_commands", "feed_command", "FEED_HELP", MANY,
         "Send files to the workers, and watch a folder for more."),
    Late("rebuild", "worker_commands", "rebuild_command", "REBUILD_HELP", MANY,
         "Let the workers rebuild match state that was lost."),
    Late("config", "config_view", "config_app", "", MANY, "The configuration of workers."),
)  # fmt: skip


PLUGIN_LINES = {
    "generate": "Make a feed of synthetic 835s, ACH files and bank reports, with its truth.",
    "score": "Hold a result against the truth of its feed.",
}
"""Lines for commands of packages above this one, which are not imported to be listed."""


def _real(late: Late) -> Any:
    module = import_module(f"reassoc.stream.{late.module}")
    found = getattr(module, late.what)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    return _command(late.name, found, getattr(module, late.help))


def _command(name: str, function: Callable[..., Any], text: str | None) -> Any:
    alone = typer.Typer(add_completion=False)
    alone.command(name, help=text)(function)
    return typer.main.get_command(alone)


def _mount(into: typer.Typer, late: Late) -> None:
    kind = _late_class(cache(lambda: _real(late)))
    into.command(late.name, cls=kind, help=late.line, rich_help_panel=late.panel)(_late)


def _late() -> None:
    """Stands for a command that is not imported yet."""


for each in LATE:
    _mount(app, each)


def add_plugins() -> None:
    """Commands of other packages. One that cannot be loaded says so when it is called, and harms no
    other.
    """
    for point in sorted(entry_points(group=COMMAND_GROUP), key=lambda point: point.name):

        def load(point: EntryPoint = point) -> Any:
            try:
                return _command(point.name, point.load(), None)
            except Exception as error:
                reason = (
                    f"command {point.name!r} ({point.value}) could not be loaded: "
                    f"{type(error).__name__}: {error}"
                )
                return _command(point.name, _broken(reason), None)

        line = PLUGIN_LINES.get(point.name, f"A command of {point.module.partition('.')[0]}.")
        kind = _late_class(cache(load))
        app.command(point.name, cls=kind, help=line, rich_help_panel=PLUGINS)(_late)


def _broken(reason: str) -> Callable[[], None]:
    def broken() -> None:
        fail(reason, EXIT_USAGE)

    return broken


# ---- options of match ----


def _parse_day(text: str | None) -> date:
    if text is None:
        return today_in_new_york()
    try:
        # fromisoformat alone also takes 20260317 and 2026-W12-2, which are more likely slips.
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    fail(f"--as-of {text}: not a date; write it as 2026-03-17", EXIT_USAGE)


def today_in_new_york() -> date:
    """The day that the banking system is in."""
    try:
        return datetime.now(ZoneInfo("America/New_York")).date()
    except ZoneInfoNotFoundError:
        fail("this machine has no time zone data: install tzdata or give --as-of", EXIT_USAGE)


def _policy(path: Path | None) -> Policy:
    from reassoc.core.errors import PolicyError
    from reassoc.core.policy import Policy
    from reassoc.stream.settings import load_policy

    if path is None:
        return Policy()
    try:
        return load_policy(path)
    except PolicyError as error:
        fail(str(error), EXIT_USAGE)


def _directory(path: Path | None) -> Directory | None:
    from reassoc.core.errors import DirectoryError
    from reassoc.stream.settings import read_directory

    if path is None:
        return None
    try:
        return read_directory(path)
    except DirectoryError as error:
        fail(str(error), EXIT_USAGE)


def _layouts(paths: Iterable[Path]) -> list[LockboxLayout]:
    from reassoc.core.errors import LayoutError
    from reassoc.stream.layouts import load_layout

    try:
        return [load_layout(path) for path in paths]
    except LayoutError as error:
        fail(str(error), EXIT_USAGE)


def _stop(number: int, frame: object) -> NoReturn:
    # An exception, so that what is half-written is removed on the way out.
    raise SystemExit(128 + number)


def _is_of_the_terminal(error: Exception) -> bool:
    """Whether it is standard output that takes no more: on a full disk, or as behind `| head`. That
    is said, but where nobody listens any more. The same errors come from files and sockets."""
    if not isinstance(error, OSError):
        return False
    try:
        handle = sys.stdout.fileno()
    except io.UnsupportedOperation:  # no file of the system
        return False
    if not _takes_no_more(handle):
        return False
    if error.errno != errno.EPIPE:
        say(f"the terminal: cannot be written: {error.strerror}")
    # What is still to be written at the end would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
    return True


def _takes_no_more(handle: int) -> bool:
    """Whether nobody reads a pipe any more, or a file or a device has no room."""
    poll = select.poll()
    poll.register(handle, 0)
    try:
        os.write(handle, b"")
        has_room = os.fstatvfs(handle).f_bavail > 0
    except OSError:
        return True
    is_file = stat.S_ISREG(os.fstat(handle).st_mode)
    return bool(poll.poll(0)) or (is_file and not has_room)


def main() -> None:
    """Entry point of `reassoc`. An unforeseen error says its type and place, never its text: that
    may hold a value.
    """
    signal.signal(signal.SIGTERM, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal or a file name in another encoding must not end a run that went well.
        sys.stdout.reconfigure(errors="replace")
    add_plugins()
    if "" in sys.argv[1:]:
        place = sys.argv.index("", 1)
        say(f"word {place} of the command is empty: was a variable not set?")
        sys.exit(EXIT_USAGE)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except Exception as error:
        if _is_of_the_terminal(error):
            sys.exit(EXIT_UNREADABLE)
        from reassoc.stream.intake import where_it_failed

        say(f"internal error: {where_it_failed()}. Please report it; nothing was written.")
        if os.environ.get("REASSOC_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        else:
            say("REASSOC_DEBUG=1 shows the whole traceback, which may hold personal data.")
        sys.exit(EXIT_UNREADABLE)


if __name__ == "__main__":
    main()
