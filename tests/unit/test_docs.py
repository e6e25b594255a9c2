"""What the documentation shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from reassoc.core.policy import PayerRule, Policy
from reassoc.stream.settings import load_policy

DOCS = Path(__file__).parents[2] / "docs"


def test_the_policy_file_shown_is_one(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", (DOCS / "POLICY.md").read_text(), re.DOTALL)
    assert block is not None
    path = tmp_path / "policy.toml"
    path.write_text(block[1])
    policy = load_policy(path)
    assert policy.review_tiers == ("T3",)
    assert policy.payers[0].ids == ("1234567890", "1341858386")


def test_the_policy_page_names_every_key() -> None:
    page = (DOCS / "POLICY.md").read_text()
    for name in (*Policy.__struct_fields__, *PayerRule.__struct_fields__):
        assert re.search(rf"^{name} = |^\[\[{name}\]\]", page, re.MULTILINE), name
