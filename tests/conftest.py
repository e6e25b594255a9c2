"""Shared fixtures: where the sample files of others lie, and how long property tests may take."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from corpus import ACH_ROOT, X12_ROOT, Sample, samples
from hypothesis import HealthCheck, settings

from reassoc.stream.processors import processor_count

NO_SERVER = " to test on: "
"""In the reason of every skip for want of a server: "no Kafka to test on: why"."""

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "default", max_examples=50, deadline=None, suppress_health_check=_QUIET, print_blob=True
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=20)
settings.register_profile("long", settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("REASSOC_HYPOTHESIS", "default"))


@pytest.fixture(scope="session")
def x12_samples() -> list[Sample]:
    """Every X12 sample file; the test is skipped where the samples are not at hand."""
    if not X12_ROOT.is_dir():
        pytest.skip(f"no X12 samples: {X12_ROOT} does not exist")
    return samples(X12_ROOT)


@pytest.fixture(scope="session")
def ach_samples() -> list[Sample]:
    """Every ACH sample file; the test is skipped where the samples are not at hand."""
    if not ACH_ROOT.is_dir():
        pytest.skip(f"no ACH samples: {ACH_ROOT} does not exist")
    return samples(ACH_ROOT)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Of `-n auto`: three for two processors, since the longest tests wait for servers and for
    processes that they start more than they compute. Its variable says otherwise."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return max(processor_count() * 3 // 2, 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Where servers are required (REASSOC_SERVERS=required), a test without its server fails."""
    report = yield
    if os.environ.get("REASSOC_SERVERS") == "required" and report.skipped and _is_missing(report):
        report.outcome = "failed"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in plain words what was not tested for want of a server."""
    reasons = Counter(
        str(report.longrepr[2])
        for report in terminalreporter.stats.get("skipped", ())
        if _is_missing(report)
    )
    for told, count in sorted(reasons.items()):
        reason = told.removeprefix("Skipped: ")
        terminalreporter.write_line(f"NOT TESTED on this machine, {count} tests: {reason}")


def _is_missing(report: Any) -> bool:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return NO_SERVER in str(reason)
