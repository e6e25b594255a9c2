"""A home of one's own for each story."""

from __future__ import annotations

from pathlib import Path

import pytest
from home_story import Story


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A home without settings."""
    return Story(tmp_path)
