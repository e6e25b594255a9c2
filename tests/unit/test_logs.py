"""Logs: what is on the list comes out, and nothing else does, however hard it is tried."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reassoc.stream import logs
from reassoc.stream.logs import FIELDS, NOT_CONSTANT, configure, get_logger, route_others

CANARY = "DOE^JOHN 123-45-6789"
STREAM = Path(__file__).parents[2] / "stream"


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written at level debug, with the process's logging as before in the end."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    monkeypatch.setattr(logs._Process, "output", logs._Output())
    stream = io.StringIO()
    configure("debug", stream=stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_the_event_and_the_fields_of_the_list(out: io.StringIO) -> None:
    log = get_logger().bind(role="intake")
    log.info("took a batch", topic="reassoc.raw.x12", partition=3, count=812, seconds=0.5, ok=True)
    (line,) = lines(out)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "event": "took a batch",
        "role": "intake",
        "topic": "reassoc.raw.x12",
        "partition": 3,
        "count": 812,
        "seconds": 0.5,
        "ok": True,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"patient": CANARY},
        {"count": CANARY},
        {"count": True},
        {"code": CANARY},
        {"code": "acct_123456789"},
        {"topic": "raw 1"},
        {"error": CANARY},
        {"seconds": [CANARY]},
        {"tenant": f"{CANARY}\n"},
        {"tenant": CANARY * 20},
        {"stack_info": True, "patient": CANARY},
    ],
)
def test_anything_else_is_left_out_and_counted(out: io.StringIO, fields: dict[str, Any]) -> None:
    get_logger().error("something is wrong", **fields)
    (line,) = lines(out)
    assert set(line) == {"time", "level", "event", "left_out"}
    assert line["left_out"] == 1
    assert "DOE" not in out.getvalue()
    assert "123456789" not in out.getvalue()


def test_an_event_that_was_put_together_is_not_shown(out: io.StringIO) -> None:
    log = get_logger()
    log.info(f"took {CANARY}")
    log.info("took %s", CANARY)
    log.info(CANARY.lower())
    log.info(("took", CANARY))  # type: ignore[arg-type]
    assert [line["event"] for line in lines(out)] == [NOT_CONSTANT] * 4


def test_an_exception_is_its_type_and_place(out: io.StringIO) -> None:
    log = get_logger()
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise ValueError(CANARY) from error
    except ValueError as error:
        log.exception("a batch failed")
        log.error("a batch failed", exc_info=error)
        log.warning("a batch failed", exc_info=True, stack_info=True)
    found = lines(out)
    assert len(found) == 3
    for line in found:
        assert line["error"].startswith("ValueError at test_logs.py:")
    assert "DOE" not in out.getvalue()
    assert "Traceback" not in out.getvalue()


def test_records_of_others_keep_their_template_and_numbers(out: io.StringIO) -> None:
    theirs = logging.getLogger("aiokafka.consumer.fetcher")
    theirs.warning("Offset %s of %s is out of range: %r", 17, f"topic-{CANARY}", {"v": CANARY})
    theirs.error(f"Cannot parse {CANARY}")
    theirs.error(ValueError(CANARY))
    try:
        raise RuntimeError(CANARY)
    except RuntimeError:
        theirs.exception("Crashed on %s", CANARY)
    theirs.info("polled")
    theirs.warning("%(n)d left of %(what)s", {"n": 3, "what": CANARY})
    found = lines(out)
    assert [line["event"] for line in found] == [
        "Offset %s of %s is out of range: %r",
        NOT_CONSTANT,
        NOT_CONSTANT,
        "Crashed on %s",
        "%(n)d left of %(what)s",
    ]
    assert [line.get("numbers") for line in found] == [[17], None, None, None, [3]]
    assert found[3]["error"].startswith("RuntimeError at test_logs.py:")
    assert {line["logger"] for line in found} == {"aiokafka.consumer.fetcher"}
    assert all(line["place"].startswith("test_logs.py:") for line in found)
    assert "DOE" not in out.getvalue()


def test_a_loop_that_tells_of_a_failed_task_tells_no_value(out: io.StringIO) -> None:
    async def fails() -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": f"no {CANARY}", "exception": ValueError(CANARY)})

    asyncio.run(fails())
    assert lines(out)[0]["error"] == "ValueError at unknown place"
    assert "DOE" not in out.getvalue()


def test_handlers_of_others_are_taken_away(out: io.StringIO) -> None:
    leak, theirs = io.StringIO(), logging.getLogger("test_logs.chatty")
    theirs.addHandler(logging.StreamHandler(leak))
    theirs.propagate = False
    route_others()
    theirs.warning("value %s", CANARY)
    assert leak.getvalue() == ""
    assert [line["event"] for line in lines(out)] == ["value %s"]


def test_exceptions_that_nobody_catches_tell_no_value(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for owner, name in (
        (threading, "excepthook"),
        (sys, "excepthook"),
        (sys, "unraisablehook"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    logs.catch_the_uncaught()

    def fails() -> None:
        raise ValueError(CANARY)

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    error = ValueError(CANARY)
    sys.excepthook(ValueError, error, None)
    assert [line["error"].split()[0] for line in lines(out)] == ["ValueError", "ValueError"]
    assert "DOE" not in out.getvalue() + "".join(capsys.readouterr())


def test_levels_forms_and_tenants_are_as_configured(out: io.StringIO) -> None:
    log = get_logger()
    log.info("claimed", tenant="north clinic")
    assert lines(out)[0]["tenant"] == "north clinic"
    text = io.StringIO()
    configure("warning", "text", tenants=False, stream=text)
    log.info("claimed", tenant="north clinic")
    log.warning("claimed", tenant="north clinic", count=2)
    (line,) = text.getvalue().splitlines()
    assert "north" not in line
    assert " warning  claimed tenant=" in line
    assert line.endswith(" count=2")
    assert sum(isinstance(one, logs._Foreign) for one in logging.getLogger().handlers) == 1


def test_before_it_is_configured_a_logger_keeps_to_the_list_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs._Process, "output", logs._Output())
    log = get_logger()
    log.info("started")
    log.warning("started", patient=CANARY)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["left_out"] == 1


def test_every_line_that_the_sources_write_is_on_the_list() -> None:
    seen = 0
    for path in sorted(STREAM.glob("*.py")):
        text = path.read_text()
        if "get_logger" not in text or path.name == "logs.py":
            continue
        for node in ast.walk(ast.parse(text)):
            if _is_log_call(node):
                assert isinstance(node, ast.Call)
                seen += 1
                where = f"{path.name}:{node.lineno}"
                assert [type(arg) for arg in node.args] == [ast.Constant], where
                names = {keyword.arg for keyword in node.keywords} - {"exc_info"}
                assert names <= set(FIELDS), f"{where}: {names - set(FIELDS)} not in logs.FIELDS"
    sample = ast.parse('_log.info("a", count=1)').body[0]
    assert isinstance(sample, ast.Expr)
    assert _is_log_call(sample.value), seen


def _is_log_call(node: ast.AST) -> bool:
    methods = {"debug", "info", "warning", "error", "critical", "exception"}
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value
    name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    return node.func.attr in methods and name.strip("_").lower() in {"log", "logger"}
