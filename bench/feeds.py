"""Deterministic feeds for the benches. Everything in them is made up."""

from __future__ import annotations

import numpy as np

BATCH_ENTRIES = 2500
"""Entries of one batch of the CCD+ feed: a clearing house's file has many originators."""


def _check_digits(routing: np.ndarray) -> np.ndarray:
    """ABA check digit of 8-digit routing numbers (int64[n])."""
    weights = (3, 7, 1, 3, 7, 1, 3, 7)
    total = np.zeros_like(routing)
    for place, weight in enumerate(weights):
        total += routing // 10 ** (7 - place) % 10 * weight
    return (10 - total % 10) % 10


def ccd_feed(entry_count: int, seed: int = 1) -> tuple[bytes, int]:
    """A valid ACH file of CCD+ credits, each with one addenda that holds a TRN, lines ended by LF.

    Returns the bytes (about 190 an entry) and the sum of the amounts in cents.
    """
    random = np.random.default_rng(seed)
    odfi = 9100001
    routing = random.integers(1_000_000, 12_000_000, entry_count)
    checks = _check_digits(routing)
    amounts = random.integers(100, 2_000_000, entry_count)
    lines = [
        f"101 0910000191234567890{'260316'}0800A094101{'RECEIVING BANK':<23}"
        f"{'CLEARING HOUSE':<23}{'':8}"
    ]
    totals = [0, 0]
    columns = zip(routing.tolist(), checks.tolist(), amounts.tolist(), strict=True)
    number = 0
    batch = 0
    while number < entry_count:
        batch += 1
        ein = 100_000_000 + batch
        lines.append(
            f"5220{f'PAYER {batch}':<16}{'':20}1{ein:09}CCDHCCLAIMPMT260316260317   "
            f"1{odfi:08}{batch:07}"
        )
        batch_hash = batch_cents = count = 0
        for rdfi, check, cents in columns:
            number += 1
            count += 1
            batch_hash += rdfi
            batch_cents += cents
            ending = "\\" if number % 2 else "~"
            lines.append(
                f"622{rdfi:08}{check}{number * 7919:<17}{cents:010}{number:015}"
                f"{'RIVER CLINIC':<22}  1{odfi:08}{number:07}"
            )
            trn = f"TRN*1*{number * 104729:012}*1{ein:09}{ending}"
            lines.append(f"705{trn:<80}0001{number:07}")
            if count == BATCH_ENTRIES:
                break
        lines.append(
            f"8220{count * 2:06}{batch_hash % 10**10:010}{0:012}{batch_cents:012}"
            f"1{ein:09}{'':25}{odfi:08}{batch:07}"
        )
        totals[0] += batch_hash
        totals[1] += batch_cents
    blocks = -(-(len(lines) + 1) // 10)
    lines.append(
        f"9{batch:06}{blocks:06}{entry_count * 2:08}{totals[0] % 10**10:010}{0:012}"
        f"{totals[1]:012}{'':39}"
    )
    lines += ["9" * 94] * (blocks * 10 - len(lines))
    return ("\n".join(lines) + "\n").encode(), totals[1]


ACCOUNT_DETAILS = 250
"""Details of one account of the bank report."""


def bai2_feed(detail_count: int, seed: int = 1) -> tuple[bytes, int]:
    """A bank's report of ACH credits with the fields and the TRN of each entry in its text, as a
    large US bank writes them: a 16 and two 88.

    Returns the bytes (about 180 a detail) and the sum of the amounts in cents.
    """
    random = np.random.default_rng(seed)
    amounts = random.integers(100, 2_000_000, detail_count).tolist()
    lines = ["01,021000021,ME,260316,0500,1,,,2/", "02,ME,021000021,1,260316,2359,USD,2/"]
    accounts = range(0, detail_count, ACCOUNT_DETAILS)
    for first in accounts:
        cents = amounts[first : first + ACCOUNT_DETAILS]
        total, count, start = 2 * sum(cents), len(cents), len(lines)
        lines.append(f"03,{first + 5_000_000},USD,100,{total // 2},{count},Z/")
        for number, amount in enumerate(cents, first):
            payer = number % 400
            company = f"EXAMPLE HEALTH PLAN {payer}"
            lines.append(f"16,165,{amount},Z,BR{number:09},,{company} DES:HCCLAIMPMT")
            name = f"RIVER CLINIC {first % 977}"
            lines.append(
                f"88,ID:{payer + 100_000_000} INDN:{name} CO ID:1{payer + 100_000_000} CCD"
            )
            trn = f"TRN*1*{number * 104729:012}*1{payer + 100_000_000}\\"
            lines.append(f"88,PMT INFO:{trn}")
        lines.append(f"49,{total},{len(lines) - start + 1}/")
    total = 2 * sum(amounts)
    lines.append(f"98,{total},{len(accounts)},{len(lines)}/")
    lines.append(f"99,{total},1,{len(lines) + 1}/")
    return ("\n".join(lines) + "\n").encode(), sum(amounts)
