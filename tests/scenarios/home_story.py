"""The life of payments in a home, told step by step: files come, days pass, people decide.

Every step is a run of the real command line, in this process or in one of its own. What is asked
afterwards is what a user can see: released files, `reassoc history`, `reassoc open`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from case_files import PAYER, Entry, Line, Remit, ach, bai2
from case_files import era as interchange
from typer.testing import CliRunner

from reassoc.stream.cli import app

PROGRAM = (sys.executable, "-c", "from reassoc.stream.cli import main; main()")
LONG_AGO_SECONDS = 60
"""Files are put into in/ as if they had been complete for so long."""


# ---- files ----


def remit(trace: str, cents: int, effective: str = "2026-03-17", **changes: Any) -> Remit:
    """An 835 of one claim."""
    given = {"claims": (cents,) if cents else (), "day": effective.replace("-", ""), **changes}
    return Remit(trace=trace, **given)


def era(
    trace: str, cents: int, effective: str = "2026-03-17", number: int = 1, **changes: Any
) -> bytes:
    """A file of one 835; `number` is its control number."""
    return interchange(remit(trace, cents, effective, **changes), number=number)


def entry(trace: str, cents: int, settles: str = "2026-03-17", **changes: Any) -> Entry:
    """An ACH credit with the trace in its addenda; its own trace number hangs on that."""
    number = zlib.crc32(trace.encode()) % 900_000 + 1
    day = settles[2:].replace("-", "")
    return Entry(**{"cents": cents, "trace": trace, "effective": day, "number": number, **changes})


def eft(trace: str, cents: int, settles: str = "2026-03-17", **changes: Any) -> bytes:
    """An ACH file of one credit."""
    return ach(entry(trace, cents, settles, **changes))


def posted(trace: str, cents: int, day: str = "2026-03-17", payer: str = PAYER) -> bytes:
    """A bank's report of one ACH credit."""
    text = f"EXAMPLE HEALTH DES:HCCLAIMPMT ID:112233333 CCD PMT INFO:TRN*1*{trace}*{payer}\\"
    return bai2(Line(cents=cents, text=text), day=day[2:].replace("-", ""))


def paid_check(number: str, cents: int, day: str = "2026-03-17") -> bytes:
    """A bank's report of one check."""
    line = Line(cents=cents, code=116, text="", customer_reference=number)
    return bai2(line, day=day[2:].replace("-", ""))


def wired(trace: str, cents: int, day: str = "2026-03-17", payer: str = PAYER) -> bytes:
    """A bank's report of one wire."""
    line = Line(cents=cents, code=195, text=f"EXAMPLE HEALTH TRN*1*{trace}*{payer}\\")
    return bai2(line, day=day[2:].replace("-", ""))


# ---- what is seen ----


@dataclass(frozen=True)
class Item:
    """An item by `reassoc history`.

    events : (kind, text) in order    steps : (tenant, status) after each status event
    """

    name: str
    tenant: str
    side: str
    cents: int
    events: list[tuple[str, str]]
    matches: list[str]
    steps: list[tuple[str, str]]

    @property
    def status(self) -> str:
        """The last one."""
        return self.steps[-1][1]

    @property
    def statuses(self) -> list[str]:
        """All of them, in order, each change once."""
        found: list[str] = []
        for _, status in self.steps:
            if found[-1:] != [status]:
                found.append(status)
        return found

    @property
    def alerts(self) -> list[str]:
        return [text for kind, text in self.events if kind == "alert"]

    @property
    def match_id(self) -> str:
        """Of the last pair event."""
        return self.matches[-1]

    def says(self, words: str) -> bool:
        """Whether its history has these words."""
        return any(words in text for _, text in self.events)


class Story:
    """One home and what happens to it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.home = folder / "home"
        (self.home / "in").mkdir(parents=True)
        self._count = 0
        for name, text in settings.items():
            self.settles_on(name, text)

    # ---- what happens ----

    def settles_on(self, name: str, text: str) -> None:
        """Write a settings file: policy, warehouse or directory."""
        (self.home / f"{name}.toml").write_text(text)

    def receives(self, *files: bytes) -> None:
        """Put complete files into in/."""
        for data in files:
            self._count += 1
            kind = "835" if data.startswith(b"ISA") else "txt"
            path = self.home / "in" / f"{self._count:03d}.{kind}"
            path.write_bytes(data)
            when = path.stat().st_mtime - LONG_AGO_SECONDS
            os.utime(path, (when, when))

    def at(self, moment: str, *files: bytes) -> str:
        """Files come, and the time is this; what the command said."""
        self.receives(*files)
        return self.runs("serve", "--drain", "--as-of", moment)

    def runs(self, command: str, *options: str, code: int = 0) -> str:
        """Run a command on the home in this process; all that it said."""
        result = CliRunner().invoke(app, [command, "--home", str(self.home), *options])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    def runs_alone(self, command: str, *options: str, code: int = 0) -> str:
        """The same in a process of its own."""
        result = subprocess.run(
            [*PROGRAM, command, "--home", str(self.home), *options],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    @contextmanager
    def served(self, moment: str) -> Iterator[None]:
        """Another process serves the home; it ends as asked."""
        command = [*PROGRAM, "serve", "--home", str(self.home), "--as-of", moment]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                assert "serving" in process.stderr.readline()
                yield
            finally:
                process.terminate()
                said = process.stderr.read()
            assert process.wait(60) == 0, said

    def waits_for(self, trace: str, status: str) -> None:
        """Look until the 835 with a trace has a status."""
        command = ["history", trace, "--home", str(self.home)]
        for _ in range(300):
            is_known = CliRunner().invoke(app, command).exit_code == 0
            if is_known and self.remittance(trace).status == status:
                return
            time.sleep(0.1)
        raise AssertionError(f"{trace} is not {status} after half a minute")

    def decides(
        self, kind: str, *items: Item, code: int = 0, why: str = "looked into", **more: str
    ) -> str:
        """A person decides; what the command answered."""
        options = [f"--item={item.name}" for item in items]
        options += [f"--{name.replace('_', '-')}={value}" for name, value in more.items()]
        return self.runs("decide", kind, "--json", "--why", why, *options, code=code)

    # ---- what is seen ----

    def items(self, trace: str) -> list[Item]:
        """All items with a trace, in the order in which they came."""
        first = self._history(trace)
        names = dict.fromkeys([first["item"]["item"], *first["others"]])
        return [_item(self._history(name)) for name in names]

    def remittance(self, trace: str, place: int = 0) -> Item:
        """The 835 with a trace."""
        return [item for item in self.items(trace) if item.side == "remittance"][place]

    def payment(self, trace: str, place: int = 0) -> Item:
        """The payment with a trace."""
        return [item for item in self.items(trace) if item.side == "payment"][place]

    def _history(self, text: str) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.runs("history", text, "--json"))
        return found

    @property
    def sent(self) -> list[str]:
        """Traces of all 835s in released files, in the order of the files."""
        traces = []
        for path in sorted(self.home.glob("released/*/*.x12")):
            segments = path.read_text().split("~")
            traces += [part.split("*")[2] for part in segments if part.startswith("TRN*")]
        return traces

    @property
    def files(self) -> list[str]:
        """Names of released files."""
        return sorted(path.name for path in self.home.glob("released/*/*.x12"))

    def open(self, *options: str) -> list[str]:
        """Names of open items that fit."""
        said = self.runs("open", "--json", *options)
        found = msgspec.json.decode(said[said.index("{") :])  # behind what stderr has
        return [row["item"] for row in found["rows"]]

    def expects(
        self,
        *,
        released: Sequence[str] = (),
        remittances: dict[str, str] | None = None,
        payments: dict[str, str] | None = None,
    ) -> None:
        """What was released in all, each as often as it was sent, and statuses by trace."""
        assert Counter(self.sent) == Counter(released)
        for trace, status in (remittances or {}).items():
            assert self.remittance(trace).status == status, self.remittance(trace).events
        for trace, status in (payments or {}).items():
            assert self.payment(trace).status == status, self.payment(trace).events


def _item(found: dict[str, Any]) -> Item:
    item, events = found["item"], found["events"]
    return Item(
        item["item"],
        item["tenant"],
        item["side"],
        item["cents"],
        [(event["kind"], event["text"]) for event in events],
        [
            event["match_id"]
            for event in events
            if event["kind"] == "pair" and "pair gone" not in event["text"]
        ],
        [
            (event["tenant"], event["text"].split(";")[0].split(" to ")[-1])
            for event in events
            if event["kind"] == "status"
        ],
    )
