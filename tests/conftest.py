"""Shared fixtures: where the sample files of others lie, and how long property tests may take."""

from __future__ import annotations

import os

import pytest
from corpus import ACH_ROOT, X12_ROOT, Sample, samples
from hypothesis import HealthCheck, settings

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "default", max_examples=100, deadline=None, suppress_health_check=_QUIET, print_blob=True
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
