"""How commands end: messages on stderr, and exit codes."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

EXIT_UNREADABLE, EXIT_USAGE = 1, 2


def say(message: str) -> None:
    """One line on stderr, as it is."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(f"reassoc: {message}"))


def tell(result: str) -> None:
    """A line of what a command found or did, on stdout, as it is."""
    Console(highlight=False, soft_wrap=True).print(Text(result))


def fail(message: str, code: int) -> NoReturn:
    """Say why and end."""
    say(message)
    raise typer.Exit(code)


def os_error_text(error: OSError, place: str = "") -> str:
    """What went wrong, behind the file or the place of which it is true. Errors of ours that are
    OSErrors say all of it themselves."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    where = str(error.filename or place)
    return f"{where}: {error.strerror}" if where else error.strerror
