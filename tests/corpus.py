"""The sample files of other projects that lie beside the repository, where they do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DATA_ROOT = REPOSITORY.parent / "shared" / "data"
X12_ROOT = DATA_ROOT / "x12"
ACH_ROOT = DATA_ROOT / "ach"
BAI2_ROOT = DATA_ROOT / "bai2"


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: `name` is its path under the root, with slashes."""

    name: str
    data: bytes


def samples(root: Path) -> list[Sample]:
    """Every file under `root` but its own notes, by name. Empty where `root` does not exist."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "SOURCES.md")
    return [Sample(path.relative_to(root).as_posix(), path.read_bytes()) for path in files]
