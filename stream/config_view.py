"""`reassoc config check`: what a worker would start with, without its secrets."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from reassoc.core.errors import DirectoryError, LayoutError, PolicyError
from reassoc.stream.config import (
    Config,
    ConfigError,
    Loaded,
    check_paths,
    load_config,
    masked,
)
from reassoc.stream.exits import EXIT_UNREADABLE, EXIT_USAGE, fail, say

CHECK_HELP = (
    "Check a worker's configuration, and show what it comes to with the environment's variables: "
    "passwords in URLs are ***. Kafka, Redis and the ledger are not asked for.\n\n"
    "Exit code 0: a worker may start with it. 1: a file or folder that it names is not there, or "
    "the warehouse's settings in it are not usable. 2: a key is wrong; each of them is named, and "
    "where it was set."
)

config_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The configuration of workers."
)


@config_app.callback()
def _config() -> None:
    """Makes `check` a command of its own name, however many there are."""


@config_app.command("check", help=CHECK_HELP)
def check_command(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE.toml]", help="The configuration; without it the variables."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """`reassoc config check`."""
    try:
        loaded = load_config(path)
    except ConfigError as error:
        fail(str(error), EXIT_USAGE)
    if as_json:
        shown = msgspec.json.encode(masked(loaded.config))
        sys.stdout.buffer.write(msgspec.json.format(shown, indent=2) + b"\n")
    else:
        typer.echo(config_text(loaded), nl=False)
    problems = check_paths(loaded) or _settings_problems(loaded.config)
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(EXIT_UNREADABLE)


def _settings_problems(config: Config) -> list[str]:
    """What is wrong with the warehouse's settings, which a worker reads when it starts."""
    from reassoc.stream.home import Home, read_settings

    try:
        read_settings(Home(Path(config.warehouse.folder)))
    except (PolicyError, DirectoryError, LayoutError) as error:
        return [str(error)]
    return []


def config_text(loaded: Loaded) -> str:
    """The whole configuration as TOML that could be given again (but for its passwords), with a
    comment where a key was set."""
    lines: list[str] = []
    _write(lines, "", masked(loaded.config), loaded.origins)
    return "\n".join(lines) + "\n"


def _write(
    lines: list[str], section: str, values: Mapping[str, Any], origins: Mapping[str, str]
) -> None:
    inner = {name: value for name, value in values.items() if isinstance(value, dict)}
    if section:
        lines.append(f"[{section}]")
    for name, value in values.items():
        if name not in inner:
            origin = origins.get(f"{section}.{name}", "")
            comment = f"  # {origin}" if origin else ""
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}{comment}")
    for name, value in inner.items():
        if lines:
            lines.append("")
        _write(lines, f"{section}.{name}" if section else name, value, origins)
