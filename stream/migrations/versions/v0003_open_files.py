"""Files of which not all parts may have come, and where the logs of tenants begin.

Written out, not taken from `ledger_schema.py`: what a revision makes never changes again.
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make a table and a column. At files that are there nobody has looked: as if they came now."""
    op.create_table(
        "part_file_open",
        sa.Column("name", _BIG, nullable=False),
        sa.Column("came_ms", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("part_file_open_came", "part_file_open", ["came_ms", "name"])
    now = int(time.time() * 1000)
    op.execute(f"INSERT INTO part_file_open SELECT name, {now} FROM part_file")
    op.add_column(
        "tenant_seen", sa.Column("first_position", _BIG, nullable=False, server_default="0")
    )
