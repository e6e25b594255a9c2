"""What a user decides about matching. A TOML file is decoded into `Policy`; every key has a default
that is safe.

trace_window_days = 180
review_tiers = ["T3"]
trace_prefixes = ["EFT"]

[[payers]]
name = "Example Health"
ids = ["1234567890", "1341858386"]
trace_prefixes = ["EH"]
trace_suffixes = ["########"]
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from reassoc.core import _keys
from reassoc.core.errors import PolicyError

TRACE_WINDOW_DAYS_MAX = 3660
AFFIX_BYTES_MAX = 30
DECIDABLE_TIERS = ("T0", "T1", "T2", "T3")


class PayerRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One payer, or several that pay as one (an aggregator and its plans).

    name : label for people, no key
    ids : identifiers that mean this payer: TRN03, BPR10, ACH company ids; with or without the
        leading 1 of an EIN
    trace_prefixes, trace_suffixes : what this payer's bank puts around the trace (form N4); `#`
        stands for any digit
    """

    ids: tuple[str, ...]
    name: str = ""
    trace_prefixes: tuple[str, ...] = ()
    trace_suffixes: tuple[str, ...] = ()
    auto_tiers: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All knobs of the matcher.

    trace_window_days : days that the two effective dates of a pair may be apart (tiers T1 to T5);
        also how long a trace
        number counts as the same one, so that its reuse after that is no conflict
    review_tiers : tiers that never match by themselves ("T0" to "T3"); what they find goes to
        review
    payers : aliases and trace affixes, see PayerRule; an id may stand in one rule only
    trace_prefixes, trace_suffixes : affixes of every payer, besides its own
    ignored_payer_ids : identifiers that say nothing (dummies such as "1999999999"); as if the item
        had none
    card_methods : values of BPR04 that mean a payment card; such remittances are never paired with
        ACH

    Raises PolicyError naming the key.
    """

    trace_window_days: int = 180
    review_tiers: tuple[str, ...] = ()
    auto_tiers: tuple[str, ...] = ()
    payee_window_banking_days: int = 5
    bulk_window_banking_days: int = 3
    suggestion_window_banking_days: int = 5
    bulk_items_max: int = 25
    bulk_work_max: int = 200_000
    candidates_max: int = 5
    return_window_days: int = 60
    reversal_window_banking_days: int = 5
    posting_window_banking_days: int = 1
    close_tiers: tuple[str, ...] = ("T2", "T3", "T6", "T7", "T8", "T9")
    payers: tuple[PayerRule, ...] = ()
    trace_prefixes: tuple[str, ...] = ()
    trace_suffixes: tuple[str, ...] = ()
    ignored_payer_ids: tuple[str, ...] = ()
    card_methods: tuple[str, ...] = ("CCC",)

    def __post_init__(self) -> None:
        if not 0 <= self.trace_window_days <= TRACE_WINDOW_DAYS_MAX:
            raise PolicyError(f"trace_window_days must be from 0 to {TRACE_WINDOW_DAYS_MAX}")
        for place, tier in enumerate(self.review_tiers):
            if tier not in DECIDABLE_TIERS:
                raise PolicyError(
                    f"review_tiers[{place}] must be one of {', '.join(DECIDABLE_TIERS)}"
                )
        for place, method in enumerate(self.card_methods):
            if (
                not method.isascii()
                or not 1 <= len(method) <= 4
                or method in ("ACH", "BOP", "CHK", "FWT", "NON")
            ):
                raise PolicyError(
                    f"card_methods[{place}] must be a code of BPR04 that means a card"
                )
        _check_affixes("", self.trace_prefixes, self.trace_suffixes)
        ignored = {
            _payer_form(f"ignored_payer_ids[{i}]", value)
            for i, value in enumerate(self.ignored_payer_ids)
        }
        owners: dict[bytes, int] = {}
        for place, rule in enumerate(self.payers):
            if not rule.ids:
                raise PolicyError(f"payers[{place}].ids must name at least one identifier")
            _check_affixes(f"payers[{place}].", rule.trace_prefixes, rule.trace_suffixes)
            for number, value in enumerate(rule.ids):
                key = f"payers[{place}].ids[{number}]"
                form = _payer_form(key, value)
                if form in ignored:
                    raise PolicyError(f"{key} is also one of ignored_payer_ids")
                if owners.setdefault(form, place) != place:
                    raise PolicyError(
                        f"{key} already belongs to payers[{owners[form]}]: one payer for each"
                    )

    def may_match(self) -> int:
        """Bit k is set where tier Tk may match by itself."""
        return sum(1 << int(tier[1:]) for tier in DECIDABLE_TIERS if tier not in self.review_tiers)


def _payer_form(key: str, value: str) -> bytes:
    form = _keys.payer_form_of(value.encode())
    if not form:
        raise PolicyError(
            f"{key} is no identifier: it has no letter and no digit but 0, or is too long"
        )
    return form


def _check_affixes(where: str, prefixes: Iterable[str], suffixes: Iterable[str]) -> None:
    for key, values in (("trace_prefixes", prefixes), ("trace_suffixes", suffixes)):
        for place, value in enumerate(values):
            form = affix_form(value)
            if not 1 <= len(form) <= AFFIX_BYTES_MAX:
                raise PolicyError(
                    f"{where}{key}[{place}] must have 1 to {AFFIX_BYTES_MAX} letters, digits or #"
                )
            if key == "trace_prefixes" and form.startswith(b"0"):
                raise PolicyError(
                    f"{where}{key}[{place}] must not start with 0: leading zeros are gone by then"
                )


def affix_form(value: str) -> bytes:
    """A prefix or suffix as it is compared: letters and digits in upper case, `#` kept."""
    return bytes(
        byte
        for byte in value.encode().upper()
        if byte >= 0x80 or chr(byte).isalnum() or byte == ord("#")
    )


def longest_first(values: Iterable[str]) -> list[bytes]:
    """Affixes in the order in which they are tried; the order given does not matter."""
    return sorted({affix_form(value) for value in values}, key=lambda form: (-len(form), form))
