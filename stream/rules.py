"""What a user decides about the warehouse: when to release, what to hold back, how long to keep.

A TOML file is decoded into `WarehouseRules`; every key has a default that is safe. What decides
about matching is the policy (`reassoc.core.policy`).

release_at = "clock"
default_release_banking_days = 10

[[hold]]
payer_ids = ["1341858386"]
above_cents = 100_000_00

[[default_release]]
payer_ids = ["1234567890"]
banking_days = 3
"""

from __future__ import annotations

import re

import msgspec

from reassoc.core.errors import PolicyError
from reassoc.core.policy import payer_id_form

BANKING_DAYS_MAX = 2520
KEEP_BANKING_DAYS_MIN = 5
FILE_TRANSACTIONS_MAX = 999_999
RULES_MAX = 10_000
"""Rules in one of the lists, and identifiers in one rule."""
_PAYEE_ID = re.compile(r"\d{9,10}", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


class HoldRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Remittances that a person must release. All keys of one rule must fit; any rule is enough.

    payer_ids : TRN03 or BPR10, with or without the leading 1 of an EIN
    payee_ids : NPI or tax number
    provider_adjustment : a PLB with an amount is in it
    reversal : a claim with status 22 is in it
    above_cents : BPR02 is above this
    name : label for people
    """

    payer_ids: tuple[str, ...] = ()
    payee_ids: tuple[str, ...] = ()
    provider_adjustment: bool = False
    reversal: bool = False
    above_cents: int | None = None
    name: str = ""


class DefaultRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Release without money after some banking days, for some payers or payees; None: never."""

    banking_days: int | None = None
    payer_ids: tuple[str, ...] = ()
    payee_ids: tuple[str, ...] = ()


class WarehouseRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All knobs of the warehouse.

    release_at : "match": what is matched by T0 or T1 and funded goes at once, the rest at the next
        opening or close; "clock": everything waits for it, so that what is released never hangs on
        the order in which files came within a day
    funded_by : "settled": the settlement date has come; "posted": the bank's report shows it
    default_release_banking_days : banking days after the effective date (BPR16) at which a
        remittance is released though no money was seen; None: never
    default_release : exceptions from that, the first that fits counts
    hold : remittances that a person must release
    opening_time, close_time : HH:MM in New York; credits are final at the opening
    keep_closed_banking_days : how long the match state remembers what is closed; after that the
        ledger does
    file_transactions_max : remittances in one released file

    Raises PolicyError naming the key.
    """

    release_at: str = "match"
    funded_by: str = "settled"
    default_release_banking_days: int | None = None
    default_release: tuple[DefaultRelease, ...] = ()
    hold: tuple[HoldRule, ...] = ()
    opening_time: str = "08:30"
    close_time: str = "18:30"
    keep_closed_banking_days: int = 45
    file_transactions_max: int = 50_000

    def __post_init__(self) -> None:
        for key in ("default_release", "hold"):
            _check_count(key, getattr(self, key))
        _check_word("release_at", self.release_at, ("match", "clock"))
        _check_word("funded_by", self.funded_by, ("settled", "posted"))
        for key in ("opening_time", "close_time"):
            if not _TIME.fullmatch(getattr(self, key)):
                raise PolicyError(f"{key} must be a time of the day, written as 08:30")
        if self.opening_time >= self.close_time:
            raise PolicyError("close_time must be later than opening_time")
        _check_range(
            "keep_closed_banking_days",
            self.keep_closed_banking_days,
            KEEP_BANKING_DAYS_MIN,
            BANKING_DAYS_MAX,
        )
        _check_range("file_transactions_max", self.file_transactions_max, 1, FILE_TRANSACTIONS_MAX)
        _check_days("default_release_banking_days", self.default_release_banking_days)
        for place, default in enumerate(self.default_release):
            where = f"default_release[{place}]"
            _check_days(f"{where}.banking_days", default.banking_days)
            if not default.payer_ids and not default.payee_ids:
                raise PolicyError(f"{where} must name payer_ids or payee_ids")
            _check_ids(where, default.payer_ids, default.payee_ids)
        for place, rule in enumerate(self.hold):
            _check_hold(f"hold[{place}]", rule)


def _check_word(key: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        raise PolicyError(f"{key} must be one of {', '.join(words)}")


def _check_range(key: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise PolicyError(f"{key} must be from {least} to {most}")


def _check_days(key: str, days: int | None) -> None:
    if days is not None:
        _check_range(key, days, 0, BANKING_DAYS_MAX)


def _check_count(key: str, values: tuple[object, ...]) -> None:
    if len(values) > RULES_MAX:
        raise PolicyError(f"{key} has {len(values)} entries, more than RULES_MAX ({RULES_MAX})")


def _check_ids(where: str, payer_ids: tuple[str, ...], payee_ids: tuple[str, ...]) -> None:
    _check_count(f"{where}.payer_ids", payer_ids)
    _check_count(f"{where}.payee_ids", payee_ids)
    for number, value in enumerate(payer_ids):
        payer_id_form(f"{where}.payer_ids[{number}]", value)
    for number, value in enumerate(payee_ids):
        if not _PAYEE_ID.fullmatch(value):
            raise PolicyError(
                f"{where}.payee_ids[{number}] must be an NPI (ten digits) or a tax number (nine)"
            )


def _check_hold(where: str, rule: HoldRule) -> None:
    _check_ids(where, rule.payer_ids, rule.payee_ids)
    if rule.above_cents is not None and rule.above_cents < 0:
        raise PolicyError(f"{where}.above_cents must not be negative")
    if rule == HoldRule(name=rule.name):
        raise PolicyError(f"{where} holds everything: name what it is about")
