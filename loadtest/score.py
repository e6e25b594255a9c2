"""A result held against the truth: what was right, what was wrong, what a person still finds.

    automatic, right     the pair is the truth's, and the truth lets it be automatic or reviewed; a
                         sum has exactly the truth's rows
    automatic, wrong     any other automatic pair, such as one that no field could tell from another
    among the first      the true pair is shown for review, as the first, second or third candidate
                         of its payment or of its remittance; of a sum, exactly the true sum
    later, missed        shown behind these; not shown

Money is that of the pair: the smaller of its two amounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from reassoc.core.errors import ReassocError
from reassoc.loadtest.truth import TRUTH_NAME
from reassoc.stream.table_read import Columns, Texts, read_columns

FIRST_MAX = 3
"""Candidates that a person looks at before giving up."""
AUTO_SHARE_MIN = 0.995
REVIEW_SHARE_MIN = 0.95
Z_95 = 1.959963984540054
"""Of the normal distribution, for two-sided bounds of 95 %."""

EXPECTS = ("auto", "review", "indistinguishable", "unmatched", "none")
AUTO, REVIEW, INDISTINGUISHABLE, UNMATCHED, NONE = range(len(EXPECTS))
RIGHT, WRONG, FIRST, LATER, MISSED = range(5)
OUTCOMES = ("auto_right", "auto_wrong", "review_first", "review_later", "missed")
NO_TIER = "none"
"""Where missed pairs stand in the table of tiers."""

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class ScoreError(ReassocError):
    """The result and the truth are not of one feed; the message says what does not fit."""


# ---- what comes out ----


class Amount(msgspec.Struct, frozen=True):
    """How many pairs, and their cents."""

    count: int = 0
    cents: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.count + other.count, self.cents + other.cents)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs of one tier or one case by what became of them, and rows of the truth that were not to
    be paired: `apart` of them are not, as they should."""

    auto_right: Amount = Amount()
    auto_wrong: Amount = Amount()
    review_first: Amount = Amount()
    review_later: Amount = Amount()
    missed: Amount = Amount()
    apart: int = 0

    def __add__(self, other: Line) -> Line:
        return Line(
            **{name: getattr(self, name) + getattr(other, name) for name in (*OUTCOMES, "apart")}
        )


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """`hit` of `of`, with 95 % bounds (see `bounds`), and the same of the money; null for none."""

    hit: int
    of: int
    share: float | None
    low: float | None
    high: float | None
    hit_cents: int
    of_cents: int
    cents_share: float | None

    def __add__(self, other: Share) -> Share:
        return share_of(
            Amount(self.hit, self.hit_cents) + Amount(other.hit, other.hit_cents),
            Amount(self.of, self.of_cents) + Amount(other.of, other.of_cents),
        )


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A result in numbers.

    tiers, cases      by tier of the match or candidate, by case of the truth
    expects           case -> what the truth expects of its rows, e.g. "auto, none"
    precision         automatic pairs that are right, of all automatic ones
    recall            pairs that are right or among the first candidates, of all that have a partner
    auto_share        automatic, of the pairs that may be automatic
    review_share      among the first candidates (or right), of the pairs that only review can find
    tie_share         in review, of the pairs that no field tells apart
    """

    tiers: dict[str, Line]
    cases: dict[str, Line]
    expects: dict[str, str]
    precision: Share
    recall: Share
    auto_share: Share
    review_share: Share
    tie_share: Share

    def __add__(self, other: Score) -> Score:
        return Score(
            tiers=_merged(self.tiers, other.tiers),
            cases=_merged(self.cases, other.cases),
            expects={**other.expects, **self.expects},
            precision=self.precision + other.precision,
            recall=self.recall + other.recall,
            auto_share=self.auto_share + other.auto_share,
            review_share=self.review_share + other.review_share,
            tie_share=self.tie_share + other.tie_share,
        )

    @property
    def wrong(self) -> Amount:
        """Automatic pairs that are wrong."""
        return sum((line.auto_wrong for line in self.tiers.values()), Amount())

    def failures(self) -> list[str]:
        """The targets that are missed, in words; none when all hold."""
        found = []
        if self.wrong.count:
            found.append(f"{self.wrong.count:,} automatic pairs are wrong; none may be")
        for what, share, least in (
            ("automatic, of the pairs that may be", self.auto_share, AUTO_SHARE_MIN),
            ("among the first candidates, of the others", self.review_share, REVIEW_SHARE_MIN),
            ("in review, of the pairs that nothing tells apart", self.tie_share, REVIEW_SHARE_MIN),
        ):
            if share.share is not None and share.share < least:
                found.append(f"{share.share:.3%} {what}; at least {least:.1%} must be")
        return found


def _merged(left: dict[str, Line], right: dict[str, Line]) -> dict[str, Line]:
    names = [*left, *(name for name in right if name not in left)]
    return {name: left.get(name, Line()) + right.get(name, Line()) for name in names}


def bounds(hit: int, of: int) -> tuple[float, float]:
    """95 % bounds of a share: Wilson's; where all or none hit, the rule of three for the open side.

    Source: Wilson 1927, "Probable inference", JASA 22; Hanley and Lippman-Hand 1983, JAMA 249.
    """
    share, square = hit / of, Z_95 * Z_95
    if hit == of:
        return max(0.0, 1 - 3 / of), 1.0
    if hit == 0:
        return 0.0, min(1.0, 3 / of)
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z_95 * sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return middle - half, middle + half


def share_of(hit: Amount, of: Amount) -> Share:
    """A share with its bounds."""
    low, high = bounds(hit.count, of.count) if of.count else (None, None)
    return Share(
        hit=hit.count,
        of=of.count,
        share=hit.count / of.count if of.count else None,
        low=low,
        high=high,
        hit_cents=hit.cents,
        of_cents=of.cents,
        cents_share=hit.cents / of.cents if of.cents else None,
    )


# ---- reading ----


@dataclass(frozen=True, slots=True)
class Truth:
    """Rows of truth.csv. left, right : int64[t]   items as numbers, -1 for none
    case : int32[t] rows of `cases`; expect : int64[t]; cents : int64[t] of the pair or item
    """

    left: Ints
    right: Ints
    case: npt.NDArray[np.int32]
    expect: Ints
    cents: Ints
    cases: list[str]


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of matches.csv: items as in Truth; rank the better of both ranks; group the number of
    its match; automatic, shown : the pair was made, is shown to a person; undone: made and undone.
    """

    left: Ints
    right: Ints
    tier: npt.NDArray[np.int32]
    tiers: list[str]
    automatic: Mask
    shown: Mask
    rank: Ints
    group: Ints
    cents: Ints


def score_result(out: Path, truth_path: Path) -> Score:
    """Hold the result folder `out` against a truth.csv, or against that of a feed's folder.

    Raises TableError where a table is missing or damaged, ScoreError where the two are not of one
    feed. About ten seconds for 2.2 million payments; memory about 500 bytes a payment.
    """
    path = truth_path / TRUTH_NAME if truth_path.is_dir() else truth_path
    truth_columns = read_columns(
        path,
        ints=("remit_ordinal", "payment_ordinal"),
        texts=("remit_file", "payment_file", "case", "expect"),
    )
    files: dict[str, int] = {"": -1}
    sides = []
    for side, table in (("remit", "remittances.csv"), ("payment", "payments.csv")):
        columns = read_columns(
            out / table, ints=(f"{side}_ordinal", f"{side}_cents"), texts=(f"{side}_file",)
        )
        sides.append(_Items(_keys(columns, side, files), columns.ints[f"{side}_cents"]))
    truth = _truth(truth_columns, sides, files, path)
    return score(truth, _found(out, sides, files))


class _Items:
    """The items of one side: numbers by key, and their cents."""

    def __init__(self, keys: Ints, cents: Ints) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self.cents = np.append(cents, 0)

    def numbers(self, keys: Ints) -> Ints:
        """Numbers of items by key: -1 where the key is negative (no item), -2 where unknown."""
        if not len(self._keys):
            return np.where(keys < 0, -1, -2)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        number = np.where(self._keys[place] == keys, self._order[place], -2)
        return np.where(keys < 0, np.int64(-1), number)


def _keys(columns: Columns, side: str, files: dict[str, int]) -> Ints:
    """int64[n]: file and ordinal as one number, negative where a row has no item of this side."""
    column, ordinal = columns.texts[f"{side}_file"], columns.ints[f"{side}_ordinal"]
    numbers = [files.setdefault(name, len(files) - 1) for name in column.names]
    file = np.array([*numbers, -1], np.int64)[column.numbers]
    return np.where(file < 0, np.int64(-1), file << 32 | np.maximum(ordinal, 0))


def _truth(columns: Columns, sides: Sequence[_Items], files: dict[str, int], path: Path) -> Truth:
    left = sides[0].numbers(_keys(columns, "remit", files))
    right = sides[1].numbers(_keys(columns, "payment", files))
    unknown = int(((left == -2) | (right == -2)).sum())
    if unknown:
        raise ScoreError(
            f"{path}: {unknown:,} of {columns.row_count:,} rows name items that the result does not"
            " have: was the feed's folder itself, and all of it, given to match?"
        )
    expect = columns.texts["expect"]
    strange = sorted(set(expect.names) - set(EXPECTS))
    if strange:
        raise ScoreError(f"{path}: column 'expect' has values that are none of {EXPECTS}")
    numbers = np.array([*map(EXPECTS.index, expect.names), 0], np.int64)[expect.numbers]
    case = columns.texts["case"]
    return Truth(left, right, case.numbers, numbers, _cents(sides, left, right), case.names)


def _cents(sides: Sequence[_Items], left: Ints, right: Ints) -> Ints:
    """The smaller amount of a pair, the amount of an item alone."""
    ours, theirs = sides[0].cents[left], sides[1].cents[right]
    return np.where(left < 0, theirs, np.where(right < 0, ours, np.minimum(ours, theirs)))


def _found(out: Path, sides: Sequence[_Items], files: dict[str, int]) -> Found:
    columns = read_columns(
        out / "matches.csv",
        ints=("remit_ordinal", "payment_ordinal", "rank", "remittance_rank"),
        ids=("match_id",),
        texts=("remit_file", "payment_file", "status", "tier"),
    )
    left = sides[0].numbers(_keys(columns, "remit", files))
    right = sides[1].numbers(_keys(columns, "payment", files))
    status = columns.texts["status"]
    ranks = (columns.ints["rank"], columns.ints["remittance_rank"])
    known = [np.where(rank <= 0, np.iinfo(np.int64).max, rank) for rank in ranks]
    return Found(
        left=left,
        right=right,
        tier=columns.texts["tier"].numbers,
        tiers=columns.texts["tier"].names,
        automatic=_is(status, "auto"),
        shown=_is(status, "review") | _is(status, "variance"),
        rank=np.minimum(*known),
        group=np.unique(columns.ids["match_id"], return_inverse=True)[1].astype(np.int64),
        cents=_cents(sides, left, right),
    )


def _is(column: Texts, name: str) -> Mask:
    number = column.names.index(name) if name in column.names else -1
    return np.asarray(column.numbers == number)


# ---- judging ----


def score(truth: Truth, found: Found) -> Score:
    """Judge every row of the truth and every automatic pair. O((t + k) log)."""
    pairs = (truth.left >= 0) & (truth.right >= 0)
    partners = pairs & (truth.expect <= INDISTINGUISHABLE)
    row = _truth_rows(truth, pairs, found)
    exact = _exact(truth, pairs, found, row)
    expect = np.append(truth.expect, NONE)[row]
    right = found.automatic & exact & (expect <= REVIEW)
    wrong = found.automatic & ~right
    outcome, candidate = _outcomes(truth, found, row, right, exact)
    wrong_case = np.where(row >= 0, np.append(truth.case, 0)[row], _case_of_items(truth, found))
    apart = _apart(truth, found, partners)
    tie = (truth.expect == INDISTINGUISHABLE) & pairs
    cents = truth.cents

    def amount(chosen: Mask) -> Amount:
        return Amount(int(chosen.sum()), int(cents[chosen].sum()))

    def share(hit: Mask, of: Mask) -> Share:
        return share_of(amount(hit & of), amount(of))

    wrongs = Amount(int(wrong.sum()), int(found.cents[wrong].sum()))
    rights = Amount(int(right.sum()), int(found.cents[right].sum()))
    seen = (outcome == RIGHT) | (outcome == FIRST)
    return Score(
        tiers=_by_tier(truth, found, partners, outcome, candidate, wrong),
        cases=_by_case(truth, found, partners, outcome, wrong, wrong_case, apart),
        expects=_expects(truth),
        precision=share_of(rights, rights + wrongs),
        recall=share(seen, partners),
        auto_share=share(outcome == RIGHT, pairs & (truth.expect == AUTO)),
        review_share=share(seen, pairs & (truth.expect == REVIEW)),
        tie_share=share(_in_review(truth, found), tie),
    )


def _truth_rows(truth: Truth, pairs: Mask, found: Found) -> Ints:
    """int64[k]: the row of the truth that is the same pair, -1 for none."""
    rows = np.flatnonzero(pairs)
    if not len(rows):
        return np.full(len(found.left), -1, np.int64)
    width = np.int64(max(truth.right.max(initial=0), found.right.max(initial=0)) + 1)
    keys = truth.left[rows] * width + truth.right[rows]
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    if (keys[1:] == keys[:-1]).any():
        raise ScoreError("the truth names a pair twice")
    wanted = found.left * width + found.right
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, rows[place], np.int64(-1))


def _exact(truth: Truth, pairs: Mask, found: Found, row: Ints) -> Mask:
    """bool[k]: the match that a row belongs to is the true one: for a single pair, the pair; for a
    sum, all rows of the true sum and no other. A single pair of a true sum is shown, but is no
    match by itself."""
    group = _true_groups(truth, pairs)
    sizes = np.bincount(group[group >= 0], minlength=1)
    rows_of = np.bincount(found.group)
    of_row = np.append(group, -1)[row]
    lowest = np.full(len(rows_of), np.iinfo(np.int64).max)
    highest = np.full(len(rows_of), -1, np.int64)
    np.minimum.at(lowest, found.group, of_row)
    np.maximum.at(highest, found.group, of_row)
    of_one = (lowest == highest) & (lowest >= 0)
    whole = of_one & (rows_of == sizes[np.where(of_one, lowest, 0)])
    single = ~found.automatic & (rows_of[found.group] == 1) & (row >= 0)
    return np.asarray(whole[found.group] | single)


def _true_groups(truth: Truth, pairs: Mask) -> Ints:
    """int64[t]: number of the true match of each pair, -1 for other rows. Pairs that may be made
    and share a payment are one sum, and so are those that share a remittance."""
    group = np.where(pairs, np.arange(len(pairs)), -1)
    rows = np.flatnonzero(pairs & (truth.expect <= REVIEW))
    for items in (truth.left, truth.right):
        _, first, inverse = np.unique(items[rows], return_index=True, return_inverse=True)
        shared = np.bincount(inverse)[inverse] > 1
        group[rows[shared]] = group[rows[first[inverse[shared]]]]
    return group


def _outcomes(
    truth: Truth, found: Found, row: Ints, right: Mask, exact: Mask
) -> tuple[npt.NDArray[np.int8], Ints]:
    """What became of each row of the truth (RIGHT, FIRST, LATER or MISSED), and the row of
    matches.csv that says so (-1 for none)."""
    count = len(truth.left)
    outcome = np.full(count, MISSED, np.int8)
    candidate = np.full(count, -1, np.int64)
    shown = np.flatnonzero(found.shown & exact & (row >= 0))
    # The best candidate is written last, and stays.
    shown = shown[np.argsort(-found.rank[shown], kind="stable")]
    candidate[row[shown]] = shown
    outcome[row[shown]] = np.where(found.rank[shown] <= FIRST_MAX, FIRST, LATER)
    made = np.flatnonzero(right)
    candidate[row[made]] = made
    outcome[row[made]] = RIGHT
    return outcome, candidate


def _marks(items: Ints, chosen: Ints) -> Mask:
    """bool[...]: which of `items` are among `chosen`; never for -1."""
    marks = np.zeros(int(max(items.max(initial=-1), chosen.max(initial=-1))) + 2, np.bool_)
    marks[chosen] = True
    marks[-1] = False
    return np.asarray(marks[items])


def _in_review(truth: Truth, found: Found) -> Mask:
    """bool[t]: an item of the row is shown for review and none of it is matched."""
    shown = _marks(truth.left, found.left[found.shown])
    shown |= _marks(truth.right, found.right[found.shown])
    made = _marks(truth.left, found.left[found.automatic])
    made |= _marks(truth.right, found.right[found.automatic])
    return shown & ~made


def _apart(truth: Truth, found: Found, partners: Mask) -> Mask:
    """bool[t]: a row of the truth without a partner whose pair, or whose item, is not matched."""
    made = _marks(truth.left, found.left[found.automatic]) & (truth.right < 0)
    made |= _marks(truth.right, found.right[found.automatic]) & (truth.left < 0)
    pairs = (truth.left >= 0) & (truth.right >= 0)
    row = _truth_rows(truth, pairs, found)
    made[row[found.automatic & (row >= 0)]] = True
    return ~partners & ~made


def _case_of_items(truth: Truth, found: Found) -> npt.NDArray[np.int32]:
    """int32[k]: a case in which the remittance of a found pair occurs, else its payment."""
    cases = np.full(len(found.left), -1, np.int32)
    for ours, theirs in ((truth.right, found.right), (truth.left, found.left)):
        size = int(max(ours.max(initial=-1), theirs.max(initial=-1))) + 1
        case = np.full(size + 1, -1, np.int32)
        there = ours >= 0
        case[ours[there]] = truth.case[there]
        cases = np.where(case[theirs] >= 0, case[theirs], cases)
    return cases


def _expects(truth: Truth) -> dict[str, str]:
    texts = {}
    for number, name in enumerate(truth.cases):
        values = np.unique(truth.expect[truth.case == number]).tolist()
        texts[name] = ", ".join(EXPECTS[value] for value in values)
    return texts


def _by_tier(
    truth: Truth,
    found: Found,
    partners: Mask,
    outcome: npt.NDArray[np.int8],
    candidate: Ints,
    wrong: Mask,
) -> dict[str, Line]:
    tier = np.append(found.tier, len(found.tiers))[candidate]
    lines: dict[str, Line] = {}
    names = sorted(range(len(found.tiers)), key=lambda number: int(found.tiers[number][1:] or 0))
    for number in (*names, len(found.tiers)):
        name = found.tiers[number] if number < len(found.tiers) else NO_TIER
        rows, bad = partners & (tier == number), wrong & (found.tier == number)
        lines[name] = _line(outcome[rows], truth.cents[rows], found.cents[bad], 0)
    return lines


def _by_case(
    truth: Truth,
    found: Found,
    partners: Mask,
    outcome: npt.NDArray[np.int8],
    wrong: Mask,
    wrong_case: npt.NDArray[np.int32],
    apart: Mask,
) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    for name, number in sorted((name, number) for number, name in enumerate(truth.cases)):
        of_case = truth.case == number
        rows, bad = partners & of_case, wrong & (wrong_case == number)
        lines[name] = _line(
            outcome[rows], truth.cents[rows], found.cents[bad], int((apart & of_case).sum())
        )
    return lines


def _line(outcome: npt.NDArray[np.int8], cents: Ints, wrong: Ints, apart: int) -> Line:
    amounts = {
        name: Amount(int((outcome == number).sum()), int(cents[outcome == number].sum()))
        for number, name in enumerate(OUTCOMES)
    }
    amounts["auto_wrong"] = Amount(len(wrong), int(wrong.sum()))
    return Line(**amounts, apart=apart)
