"""Where bytes of parts lie that came once more.

Written out, not taken from `ledger_schema.py`: what a revision makes never changes again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make a table. Copies that came before are in no book."""
    op.create_table(
        "part_copy",
        sa.Column("name", _BIG, nullable=False),
        sa.Column("start", _BIG, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("vault", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("stop", _BIG, nullable=False),
        sa.Column("content_offset", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", "start", "content", "vault"),
    )
