"""Small bank reports for tests: records in, totals and counts added."""

from __future__ import annotations

from collections.abc import Sequence

HEADER = "01,122099999,ME,260316,0829,1,80,,2/"
GROUP = "02,ME,021000021,1,260316,2359,USD,2/"
ACCOUNT = "03,5566778,USD,010,100,,/"


def report(
    *records: str,
    total: int = 0,
    header: str = HEADER,
    group: str = GROUP,
    account: str = ACCOUNT,
    end: str = "\n",
) -> bytes:
    """One account with the given records (16 and 88); `total` is the sum of their amounts."""
    sums, count = total + 100, len(records)
    lines = [
        header,
        group,
        account,
        *records,
        f"49,{sums},{count + 2}/",
        f"98,{sums},1,{count + 4}/",
        f"99,{sums},1,{count + 6}/",
    ]
    return end.join([*lines, ""]).encode("latin-1")


def detail(
    cents: int,
    text: str = "",
    *,
    code: int = 165,
    funds: str = "Z",
    bank: str = "",
    customer: str = "",
    more: Sequence[str] = (),
) -> list[str]:
    """A 16 and its continuations."""
    first = f"16,{code},{cents},{funds},{bank},{customer},{text}"
    return [first + ("" if text else "/"), *(f"88,{line}" for line in more)]
