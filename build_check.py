"""Says in one line what is missing before anything is built, instead of a page of compiler
output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

PYTHON_MIN = (3, 11)


def missing() -> str | None:
    """Return what to install, or None when the build can start."""
    if sys.version_info < PYTHON_MIN:
        wanted = ".".join(map(str, PYTHON_MIN))
        return f"Python {wanted} or later is needed, this is {sys.version.split()[0]}"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"no C compiler ({compiler}) was found (Debian: apt-get install build-essential)"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        return (
            f"{header} is missing: install Python's headers (Debian: apt-get install python3-dev)"
        )
    if find_spec("ensurepip") is None or find_spec("venv") is None:  # Debian ships them apart
        return "Python's venv module is missing: install it (Debian: apt-get install python3-venv)"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text(
            "#include <stdint.h>\n#include <string.h>\nint main(void) { return 0; }\n"
        )
        probe = subprocess.run(
            [compiler, str(source), "-o", str(Path(folder) / "probe")],
            capture_output=True,
            check=False,
        )
    if probe.returncode != 0:
        return "the C compiler cannot build a program (Debian: apt-get install libc6-dev)"
    return None


if __name__ == "__main__":
    problem = missing()
    if problem is not None:
        sys.exit(f"reassoc cannot be built: {problem}")
