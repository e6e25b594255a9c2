"""Alembic's environment: migrations run on the connection, and in the transaction, of whoever opens
a ledger (`ledger.py`). They are never run from a command line of their own."""

from __future__ import annotations

from alembic import context

from reassoc.stream.ledger_schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
