"""What a user decides about matching. A TOML file is decoded into `Policy`; every key has a default
that is safe.

trace_window_days = 180
review_tiers = ["T3"]
auto_tiers = ["T7"]
trace_prefixes = ["EFT"]

[[payers]]
name = "Example Health"
ids = ["1234567890", "1341858386"]
trace_prefixes = ["EH"]
trace_suffixes = ["########"]
auto_tiers = ["T6"]
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from reassoc.core import _keys
from reassoc.core.errors import PolicyError

TRACE_WINDOW_DAYS_MAX = 3660
BANKING_DAYS_MAX = 60
AFFIX_BYTES_MAX = 30
BULK_ITEMS_MAX = 30
BULK_WORK_MAX = 100_000_000
CANDIDATES_MAX = 20
SURE_TIERS = ("T0", "T1", "T2", "T3", "T8")
"""Tiers that match by themselves unless `review_tiers` names them; T8 with a shared trace root."""
OPTED_TIERS = ("T6", "T7", "T8", "T9")
"""Tiers that match by themselves only where `auto_tiers` names them; T8 without a trace root."""
PAYER_OPTED_TIERS = ("T6",)
CLOSE_TIERS = tuple(f"T{number}" for number in range(1, 10))

_RANGES = {
    "trace_window_days": (0, TRACE_WINDOW_DAYS_MAX),
    "payee_window_banking_days": (0, BANKING_DAYS_MAX),
    "bulk_window_banking_days": (0, BANKING_DAYS_MAX),
    "suggestion_window_banking_days": (0, BANKING_DAYS_MAX),
    "bulk_items_max": (2, BULK_ITEMS_MAX),
    "bulk_work_max": (1, BULK_WORK_MAX),
    "candidates_max": (1, CANDIDATES_MAX),
    "return_window_days": (0, TRACE_WINDOW_DAYS_MAX),
    "reversal_window_banking_days": (0, BANKING_DAYS_MAX),
    "posting_window_banking_days": (0, BANKING_DAYS_MAX),
}


class PayerRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One payer, or several that pay as one (an aggregator and its plans).

    name : label for people, no key
    ids : identifiers that mean this payer: TRN03, BPR10, ACH company ids; with or without the
        leading 1 of an EIN
    trace_prefixes, trace_suffixes : what this payer's bank puts around the trace (form N4); `#`
        stands for any digit
    auto_tiers : further tiers that match this payer's items by themselves; only "T6" can be one,
        for a bank that is known to cut traces
    """

    ids: tuple[str, ...]
    name: str = ""
    trace_prefixes: tuple[str, ...] = ()
    trace_suffixes: tuple[str, ...] = ()
    auto_tiers: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All knobs of the matcher.

    trace_window_days : days that the two effective dates of a pair may be apart (tiers T1 to T6,
        and sums of a shared trace root); also how long a trace number counts as the same one, so
        that its reuse after that is no conflict
    review_tiers : tiers that never match by themselves ("T0" to "T3", and "T8" for sums of a shared
        trace root); what they find goes to review
    auto_tiers : tiers that may match by themselves though they lean on less ("T6" cut traces, "T7"
        no trace, "T8" sums without a shared trace root, "T9" one remittance for several payments)
    payee_window_banking_days : banking days that the items of a pair may be apart in T7
    bulk_window_banking_days : the same for sums without a shared trace root (T8, T9)
    suggestion_window_banking_days : the same for suggestions (T10)
    bulk_items_max : items among which sums are looked for; where more would do, none is guessed
    bulk_work_max : sums formed for one payment at most; a search that could form more is not begun
    candidates_max : review candidates kept for each item, best first
    return_window_days : days after a payment's settlement in which its return is looked for
    reversal_window_banking_days : banking days after a payment in which its reversal is
    posting_window_banking_days : banking days that a bank's report of an ACH credit may be off its
        settlement
    close_tiers : tiers that decide at the close of the banking day only, because a rival may still
        arrive ("T1" to "T9"); before it what they find is shown, but waits
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
        for key, (least, most) in _RANGES.items():
            if not least <= getattr(self, key) <= most:
                raise PolicyError(f"{key} must be from {least} to {most}")
        _check_tiers("review_tiers", self.review_tiers, SURE_TIERS)
        _check_tiers("auto_tiers", self.auto_tiers, OPTED_TIERS)
        _check_tiers("close_tiers", self.close_tiers, CLOSE_TIERS)
        if "T8" in self.review_tiers and "T8" in self.auto_tiers:
            raise PolicyError(
                "auto_tiers names T8, which review_tiers names, too: sums without a shared trace"
                " root cannot be surer than those with one"
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
        _check_payers(self.payers, self.ignored_payer_ids)

    def may_match(self, at_close: bool = True) -> int:
        """Bit k is set where tier Tk may match by itself, bit 8 for sums of a shared trace root.

        at_close : whether the banking day is at its close; before it `close_tiers` may not
        """
        tiers = {*SURE_TIERS} - {*self.review_tiers} | {*self.auto_tiers} - {"T8"}
        return sum(1 << int(tier[1:]) for tier in self._deciding(tiers, at_close))

    def may_match_unrooted(self, at_close: bool = True) -> bool:
        """Whether sums without a shared trace root (T8) may match by themselves."""
        return "T8" in self._deciding({*self.auto_tiers}, at_close)

    def _deciding(self, tiers: set[str], at_close: bool) -> set[str]:
        return tiers if at_close else tiers - {*self.close_tiers}


def _check_tiers(key: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    for place, tier in enumerate(values):
        if tier not in known:
            raise PolicyError(f"{key}[{place}] must be one of {', '.join(known)}")


def _check_payers(rules: tuple[PayerRule, ...], ignored_ids: tuple[str, ...]) -> None:
    ignored = {
        payer_id_form(f"ignored_payer_ids[{i}]", value) for i, value in enumerate(ignored_ids)
    }
    owners: dict[bytes, int] = {}
    for place, rule in enumerate(rules):
        if not rule.ids:
            raise PolicyError(f"payers[{place}].ids must name at least one identifier")
        _check_affixes(f"payers[{place}].", rule.trace_prefixes, rule.trace_suffixes)
        _check_tiers(f"payers[{place}].auto_tiers", rule.auto_tiers, PAYER_OPTED_TIERS)
        for number, value in enumerate(rule.ids):
            key = f"payers[{place}].ids[{number}]"
            form = payer_id_form(key, value)
            if form in ignored:
                raise PolicyError(f"{key} is also one of ignored_payer_ids")
            if owners.setdefault(form, place) != place:
                raise PolicyError(
                    f"{key} already belongs to payers[{owners[form]}]: one payer for each"
                )


def payer_id_form(key: str, value: str) -> bytes:
    """P1 of a payer identifier. Raises PolicyError where it names nobody."""
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
