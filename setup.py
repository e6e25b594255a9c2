"""Builds the Cython extensions. Everything else about the package stands in pyproject.toml.

REASSOC_DEBUG=1 turns Cython's own checks on; REASSOC_SANITIZE=1 builds with ASan and UBSan (see
`make sanitize`). Neither uses -march: the kernels choose at run time, so one wheel runs everywhere.
"""

from __future__ import annotations

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("REASSOC_DEBUG") == "1"
SANITIZE = os.environ.get("REASSOC_SANITIZE") == "1"
MODE = "sanitize" if SANITIZE else "debug" if DEBUG else "release"

CFLAGS = [
    "-std=gnu11",
    "-D_GNU_SOURCE",
    "-O3",
    "-g1",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
]
LDFLAGS: list[str] = []
# A jump through a table for each segment is foreseen badly; compares are not (and gcc would make a
# table of a chain of them): a tenth of the time of bench/test_bench_x12.py.
# Slabs of tables are kept for the next window of a file. A matching has none, and large slabs.
OWN_CFLAGS = {"_x12scan": ["-fno-jump-tables"], "_tiers": ["-DSLAB_CACHE_BYTES_MAX=0"]}
if DEBUG:
    CFLAGS += ["-Werror", "-O1", "-g"]
if SANITIZE:
    sanitizers = "-fsanitize=address,undefined"
    CFLAGS += [
        sanitizers,
        "-fno-sanitize-recover=undefined",
        "-fno-omit-frame-pointer",
        "-O1",
        "-g",
    ]
    LDFLAGS += [sanitizers]


def package_view() -> str:
    """Lay `reassoc/` out in build/ as links: Cython, mypy and pyright map package names to
    folders."""
    root = Path("build/pkgroot")
    (root / "reassoc").mkdir(parents=True, exist_ok=True)
    for name in ("core", "stream", "loadtest"):
        link = root / "reassoc" / name
        if not link.is_symlink():
            link.symlink_to(Path("../../..") / name, target_is_directory=True)
    return str(root)


def extension(name: str) -> Extension:
    return Extension(
        f"reassoc.core.{name}",
        [f"core/{name}.pyx"],
        include_dirs=["core"],
        depends=sorted(str(header) for header in Path("core").glob("*.h")),
        extra_compile_args=[*CFLAGS, *OWN_CFLAGS.get(name, [])],
        extra_link_args=LDFLAGS,
    )


setup(
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    ext_modules=cythonize(
        [
            extension(name)
            for name in (
                "_x12scan",
                "_nacha",
                "_bai2scan",
                "_keys",
                "_tiers",
                "_payees",
                "_bulk",
                "_candidates",
                "_rows",
            )
            if Path(f"core/{name}.pyx").exists()
        ],
        include_path=[package_view()],
        build_dir=f"build/cython-{MODE}",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "initializedcheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "embedsignature": True,
            "freethreading_compatible": False,
        },
    ),
)
