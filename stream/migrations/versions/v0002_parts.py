"""Parts of files that come in messages, and tenants that were claimed.

Written out, not taken from `ledger_schema.py`: what a revision makes never changes again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make three tables."""
    op.create_table(
        "part",
        sa.Column("name", _BIG, nullable=False),
        sa.Column("start", _BIG, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("stop", _BIG, nullable=False),
        sa.Column("vault", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("content_offset", _BIG, nullable=False),
        sa.Column("route", sa.LargeBinary(), nullable=False),
        sa.Column("logged", _SMALL, nullable=False),
        sa.PrimaryKeyConstraint("name", "start"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "part_file",
        sa.Column("name", _BIG, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("byte_count", _BIG, nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("part_count", _BIG, nullable=False),
        sa.Column("complete", _SMALL, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "tenant_seen",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
