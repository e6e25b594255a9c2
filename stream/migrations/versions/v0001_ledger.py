"""The first schema of the ledger.

Written out, not taken from `ledger_schema.py`: what a revision makes never changes again.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
_TYPES: dict[str, Any] = {
    "big": _BIG,
    "small": _SMALL,
    "int": sa.Integer(),
    "text": sa.String(),
    "blob": sa.LargeBinary(),
}


def _columns(kind: str, names: str, *, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, _TYPES[kind], nullable=nullable) for name in names.split()]


def _key(*names: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*names)


def upgrade() -> None:
    """Make all tables."""
    _batches()
    _release_book()
    _texts()
    _keys()
    _open_items()


def _batches() -> None:
    op.create_table(
        "batch",
        *_columns("big", "number"),
        *_columns("text", "tenant"),
        *_columns("big", "sequence position"),
        *_columns("int", "day"),
        *_columns("text", "as_of cause"),
        *_columns("big", "row_count"),
        *_columns("blob", "previous_hash hash"),
        _key("number"),
        sa.UniqueConstraint("tenant", "sequence", name="batch_sequence"),
    )
    op.create_table(
        "item",
        *_columns("big", "number digest offset"),
        *_columns("small", "side source kind"),
        *_columns("big", "cents"),
        *_columns("int", "day"),
        *_columns("big", "business_key position"),
        *_columns("int", "claims"),
        _key("number"),
    )
    op.create_table(
        "status_change",
        *_columns("big", "number digest offset"),
        *_columns("small", "side before after funding_before funding_after"),
        *_columns("int", "flags_before flags_after"),
        *_columns("big", "reason"),
        *_columns("small", "release_kind"),
        _key("number"),
    )
    op.create_table(
        "pair_event",
        *_columns(
            "big", "number remittance_digest remittance_offset payment_digest payment_offset"
        ),
        *_columns("big", "match_id"),
        *_columns("small", "event status tier"),
        *_columns("big", "reason"),
        *_columns("int", "agreed differed rewrites"),
        *_columns("big", "rivals"),
        *_columns("int", "days_apart"),
        *_columns("big", "difference_cents"),
        *_columns("small", "cause"),
        *_columns("int", "weight"),
        *_columns("small", "person"),
        _key("number"),
    )
    op.create_table(
        "link_event",
        *_columns("big", "number digest offset other_digest other_offset"),
        *_columns("small", "kind status event"),
        _key("number"),
    )
    op.create_table(
        "alert",
        *_columns("big", "number digest offset"),
        *_columns("small", "side code"),
        *_columns("big", "match_id"),
        _key("number"),
    )
    op.create_table(
        "decision",
        *_columns("big", "number position"),
        *_columns("small", "kind answer"),
        *_columns("big", "item_count cents"),
        *_columns("blob", "text_hash"),
        _key("number"),
    )


def _release_book() -> None:
    op.create_table(
        "release_file",
        *_columns("big", "number file"),
        *_columns("text", "name sink receiver sender"),
        *_columns("big", "interchange_control group_control_first"),
        *_columns("int", "group_count item_count"),
        *_columns("big", "cents"),
        *_columns("int", "day"),
        *_columns("blob", "body"),
        _key("number"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("file"),
    )
    op.create_table(
        "release_item",
        *_columns("big", "number"),
        *_columns("text", "tenant"),
        *_columns("big", "file"),
        *_columns("int", "place"),
        *_columns("big", "digest offset"),
        *_columns("small", "sending release_kind"),
        *_columns("big", "cents position"),
        _key("number"),
        sa.UniqueConstraint("digest", "offset", "sending", "tenant", name="release_item_sending"),
    )
    op.create_index("release_item_file", "release_item", ["file", "place"])
    op.create_table(
        "release_event",
        *_columns("big", "number file"),
        *_columns("small", "event"),
        *_columns("text", "at"),
        *_columns("int", "code"),
        *_columns("big", "byte_count", nullable=True),
        *_columns("blob", "digest", nullable=True),
        _key("number"),
    )
    op.create_index("release_event_file", "release_event", ["file"])
    op.create_table(
        "control_number",
        *_columns("text", "sender receiver"),
        *_columns("big", "last_interchange last_group"),
        _key("sender", "receiver"),
    )


def _texts() -> None:
    op.create_table(
        "item_detail",
        *_columns("big", "digest offset"),
        *_columns("text", "trace payer_id payer_name payee_account payee_id"),
        _key("digest", "offset"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "source_file",
        *_columns("big", "digest_prefix"),
        *_columns("blob", "digest"),
        *_columns("text", "name kind"),
        *_columns("big", "byte_count"),
        _key("digest_prefix"),
    )
    op.create_table(
        "decision_text",
        *_columns("big", "decision"),
        *_columns("text", "number"),
        *_columns("text", "who why refusal", nullable=True),
        *_columns("blob", "salt", nullable=True),
        _key("decision"),
    )
    op.create_index("ix_decision_text_number", "decision_text", ["number"])


def _keys() -> None:
    op.create_table(
        "item_place",
        *_columns("big", "digest offset number"),
        _key("digest", "offset", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "item_business",
        *_columns("big", "business_key number"),
        _key("business_key", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "item_trace",
        *_columns("big", "trace_hash number"),
        _key("trace_hash", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mention",
        *_columns("big", "digest batch"),
        _key("digest", "batch"),
        sqlite_with_rowid=False,
    )


def _open_items() -> None:
    op.create_table(
        "payer",
        *_columns("text", "tenant payer_id payer_name"),
        _key("tenant", "payer_id", "payer_name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "open_base",
        *_columns("text", "tenant field"),
        *_columns("big", "sequence item_count"),
        *_columns("blob", "data"),
        _key("tenant", "field"),
    )
    op.create_table(
        "open_change",
        *_columns("text", "tenant"),
        *_columns("big", "sequence"),
        *_columns("blob", "opened changed"),
        _key("tenant", "sequence"),
    )
