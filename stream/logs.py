"""Logs that cannot hold personal data: what is written is on a list, and the rest is not.

    log = get_logger()
    log.info("took a batch", topic="reassoc.raw.x12", partition=3, count=812, seconds=0.021)

- The event is a text that stands in the code. One that was put together at run time is replaced.
- Fields are those of FIELDS, each with the form that it says; any other is left out and counted.
- An exception is its type and place, never its text.
- Records of other packages (Faust, aiokafka, redis) come through from WARNING on: their template,
  where it stands in their code, and the numbers among its values.

Every line is one JSON object, or text for people.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

import msgspec
import structlog
from blake3 import blake3
from structlog.typing import FilteringBoundLogger

from reassoc.stream.clock import iso, utc_now
from reassoc.stream.intake import place_of

FRAMES_MAX = 64
"""Frames that are searched for the code that a text stands in."""
NUMBERS_MAX = 8
"""Numbers of another package's record that are shown."""
TEMPLATE_CHARACTERS_MAX = 300
TENANT_CHARACTERS_MAX = 128
NOT_CONSTANT = "(a text that was put together is not logged)"
"""In the place of an event that does not stand in the code."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_MANY_DIGITS = re.compile(r"\d{5}", re.ASCII)
"""What has five digits in a row may be an account, a claim or a tax number."""
_PLACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]* at (?:[A-Za-z0-9_.-]{1,64}:\d{1,6}|unknown place)")

Form = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_code(value: Any) -> bool:
    """A short word of ours (a topic, a reason, a role), which no value of a file looks like."""
    return (
        isinstance(value, str)
        and _CODE.fullmatch(value) is not None
        and _MANY_DIGITS.search(value) is None
    )


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and _PLACE.fullmatch(value) is not None


def _is_tenant(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= TENANT_CHARACTERS_MAX


_NUMBERS = (
    *("partition", "partitions", "offset", "position", "mark", "epoch", "generation", "sequence"),
    *("count", "messages", "items", "remittances", "payments", "files", "steps", "entries"),
    *("bytes", "seconds", "cents", "attempt", "attempts", "port", "lag", "limit", "pid", "exit"),
)
_CODES = (
    *("topic", "group", "code", "reason", "role", "state", "vault", "tier", "side", "kind"),
    *("setting", "version", "protocol"),
)
FIELDS: Mapping[str, Form] = {
    **dict.fromkeys(_NUMBERS, _is_number),
    **dict.fromkeys(_CODES, _is_code),
    "ok": _is_flag,
    "held": _is_flag,
    "error": _is_place,
    "tenant": _is_tenant,
}
"""Fields that a line may have, and what their values must look like."""


@dataclass(frozen=True, slots=True)
class _Output:
    """level : of what is written    stream : None for stderr as it is at that moment"""

    level: int = logging.WARNING
    is_json: bool = True
    shows_tenants: bool = True
    stream: TextIO | None = None


class _Process:
    """What holds for the whole process, as logging itself does."""

    output = _Output()
    lock = threading.Lock()


def configure(
    level: str = "info", format: str = "json", *, tenants: bool = True, stream: TextIO | None = None
) -> None:
    """Say what is written, in which form and where to, for the whole process; and route the records
    of other packages through. Loggers that were got before follow.

    level : debug, info, warning or error, of our own lines
    format : json or text
    tenants : names of tenants are shown; else the beginning of their digest is, which tells them
        apart
    stream : stderr where not given
    """
    _Process.output = _Output(_LEVELS[level], format == "json", tenants, stream)
    root = logging.getLogger()
    for handler in [*root.handlers]:
        if isinstance(handler, _Foreign):
            root.removeHandler(handler)
    root.addHandler(_Foreign())
    root.setLevel(logging.WARNING)


def route_others() -> None:
    """Take the handlers of other packages away, so that nothing of theirs is written but through
    here. To be called once they have set up their own, as Faust does when an app starts."""
    for name in [*logging.Logger.manager.loggerDict]:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if isinstance(one, _Foreign)] or [_Foreign()]


def catch_the_uncaught() -> None:
    """Have exceptions that end a thread, or that nobody can raise, written by type and place: what
    Python does by itself prints their text. For the start of a process."""
    log = get_logger()

    def of_thread(found: threading.ExceptHookArgs) -> None:
        log.error("a thread ended by an exception", exc_info=found.exc_value)

    def of_process(_: object, error: BaseException, __: object) -> None:
        log.error("the process ends by an exception", exc_info=error)

    def of_nobody(found: sys.UnraisableHookArgs) -> None:
        log.error("an exception that nobody could raise", exc_info=found.exc_value)

    threading.excepthook, sys.excepthook, sys.unraisablehook = of_thread, of_process, of_nobody


def get_logger() -> FilteringBoundLogger:
    """A logger that keeps to the list, whether `configure` was called or not (then it writes
    warnings, as JSON, to stderr). `bind` gives it fields that all of its lines have."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Writer(),
        processors=[_filter, _only_the_list, _render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    return logger


class _Writer:
    """Writes lines. One write each, so that lines of several threads do not mix."""

    def msg(self, line: str) -> None:
        stream = _Process.output.stream or sys.stderr
        with _Process.lock:
            stream.write(line + "\n")
            stream.flush()

    debug = info = warning = error = critical = msg


# ---- what structlog calls for each line, in this order ----

_Line = MutableMapping[str, Any]


def _filter(_: Any, method: str, line: _Line) -> _Line:
    if _LEVELS[method] < _Process.output.level:
        raise structlog.DropEvent
    return line


def _only_the_list(_: Any, method: str, line: _Line) -> _Line:
    """A new line of what may be shown."""
    event = line.pop("event", None)
    raised = line.pop("exc_info", None)
    for unused in ("stack_info", "stack"):
        line.pop(unused, None)
    kept: dict[str, Any] = {"time": iso(utc_now()), "level": method}
    kept["event"] = event if _stands_in_code(event, sys._getframe(1)) else NOT_CONSTANT
    left_out = 0
    for name, value in line.items():
        form = FIELDS.get(name)
        if form is None or not form(value):
            left_out += 1
        else:
            kept[name] = _tenant(value) if name == "tenant" else value
    if raised:
        kept["error"] = place_of(_exception(raised))
    if left_out:
        kept["left_out"] = left_out
    return kept


def _tenant(name: str) -> str:
    return name if _Process.output.shows_tenants else blake3(name.encode()).hexdigest()[:8]


def _exception(raised: Any) -> BaseException | None:
    if isinstance(raised, BaseException):
        return raised
    found = raised[1] if isinstance(raised, tuple) else sys.exc_info()[1]
    return found if isinstance(found, BaseException) else None


def _stands_in_code(text: object, frame: FrameType | None) -> bool:
    """Whether a text is a constant of a function that is being run: then no value is in it. O(depth
    of the stack), at most FRAMES_MAX."""
    if not isinstance(text, str):
        return False
    for _ in range(FRAMES_MAX):
        if frame is None:
            return False
        if any(type(one) is str and one == text for one in frame.f_code.co_consts):
            return True
        frame = frame.f_back
    return False


def _render(_: Any, __: str, line: _Line) -> str:
    return _rendered(line)


def _rendered(line: Mapping[str, Any]) -> str:
    if _Process.output.is_json:
        return msgspec.json.encode(line).decode()
    fields = {name: value for name, value in line.items() if name not in _HEAD}
    head = f"{line['time']} {line['level']:<8} {line['event']}"
    return " ".join([head, *(f"{name}={value}" for name, value in fields.items())])


_HEAD = ("time", "level", "event")


# ---- records of other packages ----


class _Foreign(logging.Handler):
    """Writes what may be shown of other packages' records, at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._writer = _Writer()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.msg(_rendered(_foreign_line(record)))
        except Exception:
            # Not `handleError`, which would print the record with its values.
            self._writer.msg(_rendered(_unprintable()))


def _unprintable() -> dict[str, Any]:
    return {"time": iso(utc_now()), "level": "error", "event": "a record could not be written"}


def _foreign_line(record: logging.LogRecord) -> dict[str, Any]:
    template = record.msg
    if not _stands_in_code(template, sys._getframe(1)):
        template = NOT_CONSTANT
    line: dict[str, Any] = {
        "time": iso(utc_now()),
        "level": record.levelname.lower(),
        "event": str(template)[:TEMPLATE_CHARACTERS_MAX],
        "logger": record.name if _is_code(record.name) else "(other)",
        "place": f"{record.filename}:{record.lineno}",
    }
    numbers = [value for value in _values(record.args) if _is_number(value)][:NUMBERS_MAX]
    if numbers:
        line["numbers"] = numbers
    if record.exc_info and record.exc_info[1] is not None:
        line["error"] = place_of(record.exc_info[1])
    return line


def _values(args: Any) -> list[Any]:
    if isinstance(args, Mapping):
        return [*args.values()]
    return [*args] if isinstance(args, tuple) else []
