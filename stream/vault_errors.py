"""What the vault may refuse or fail with. Texts name places and lengths, never what a content
holds.
"""

from __future__ import annotations

from reassoc.core.errors import ReassocError


class VaultError(ReassocError):
    """The vault could not do what it was asked to; what it acknowledged before is untouched."""


class KeyMissingError(VaultError):
    """A master key that the vault needs is not in the key ring."""


class WrongKeyError(VaultError):
    """A master key is not the one that the vault was written with."""


class NoContentError(VaultError):
    """The vault does not have this content, or it was erased."""


class HeldError(VaultError):
    """A content may not be erased: a legal hold or the retention keeps it."""


class DamagedError(VaultError):
    """Bytes of the vault are damaged or missing; `reassoc vault verify` lists all of them."""


class BusyError(VaultError):
    """Another process writes this vault."""
