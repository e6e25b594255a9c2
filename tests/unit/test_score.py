"""Scores of results made by hand: what counts as right, wrong, found and missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from reassoc.loadtest.score import Amount, Score, ScoreError, bounds, score_result
from reassoc.loadtest.score_cli import score_command, to_json
from reassoc.loadtest.truth import TRUTH_HEADER
from reassoc.stream.table_read import TableError

MATCHES = (
    "match_id,status,tier,reason,remit_file,remit_ordinal,payment_file,payment_ordinal,"
    "rank,remittance_rank"
)

Pair = tuple[int | None, int | None]
Row = tuple[int, str, str, Pair, int, int]


def result(
    folder: Path,
    found: list[Row],
    truth: list[tuple[Pair, str, str]],
) -> Score:
    """Score pairs (match id, status, tier, (remittance, payment), rank, remittance rank) against
    rows ((remittance, payment), case, expect); item n has (n + 1) dollars."""
    folder.mkdir(exist_ok=True)
    lines = [
        f'{match:016x},{status},{tier},"words, and ""more""\nof them",a.835,{left},b.ach,{right},'
        f"{rank},{other}"
        for match, status, tier, (left, right), rank, other in found
    ]
    write(folder / "matches.csv", MATCHES, lines)
    for side, name, file in (("remit", "remittances", "a.835"), ("payment", "payments", "b.ach")):
        write(
            folder / f"{name}.csv",
            f"{side}_file,{side}_ordinal,{side}_cents",
            [f"{file},{n},{(n + 1) * 100}" for n in range(20)],
        )
    rows = []
    for (left, right), case, expect in truth:
        ours = f"a.835,{left}" if left is not None else ","
        theirs = f"b.ach,{right},0" if right is not None else ",,"
        rows.append(f"{ours},{theirs},{case},{expect}")
    write(folder / "truth.csv", TRUTH_HEADER, rows)
    return score_result(folder, folder)


def as_status(status: str, rows: list[Row]) -> list[Row]:
    return [(match, status, tier, pair, *ranks) for match, _, tier, pair, *ranks in rows]


def write(path: Path, header: str, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in (header, *lines)))


def test_automatic_pairs_are_right_where_the_truth_has_them(tmp_path: Path) -> None:
    score = result(
        tmp_path,
        [
            (1, "auto", "T1", (0, 0), 1, 1),
            (2, "auto", "T2", (1, 1), 1, 1),
            (3, "auto", "T1", (2, 3), 1, 1),
        ],
        [
            ((0, 0), "clean", "auto"),
            ((1, 1), "odd", "review"),
            ((2, 2), "clean", "auto"),
            ((None, 3), "stray", "none"),
            ((4, None), "lone", "none"),
        ],
    )
    assert score.tiers["T1"].auto_right == Amount(1, 100)
    assert score.tiers["T1"].auto_wrong == Amount(1, 300)
    assert score.tiers["T2"].auto_right == Amount(1, 200)
    assert score.cases["clean"].auto_wrong.count == 1
    assert score.cases["clean"].missed.count == 1
    assert (score.cases["stray"].apart, score.cases["lone"].apart) == (0, 1)
    assert (score.precision.hit, score.precision.of) == (2, 3)
    assert (score.auto_share.hit, score.auto_share.of) == (1, 2)
    assert len(score.failures()) == 2


@pytest.mark.parametrize("expect", ["indistinguishable", "unmatched"])
def test_a_pair_that_may_not_be_automatic_is_wrong(tmp_path: Path, expect: str) -> None:
    found = [(1, "auto", "T7", (0, 0), 1, 1)]
    score = result(tmp_path, found, [((0, 0), "case", expect)])
    assert score.wrong == Amount(1, 100)
    assert score.cases["case"].auto_wrong.count == 1
    assert score.cases["case"].apart == 0
    assert score.precision.hit == 0
    found = [(1, "unmatched", "T1", (0, 0), 1, 1)]
    score = result(tmp_path, found, [((0, 0), "case", "unmatched")])
    assert (score.wrong.count, score.cases["case"].apart) == (0, 1)


def test_the_first_three_of_either_side_count(tmp_path: Path) -> None:
    score = result(
        tmp_path,
        [
            (1, "review", "T4", (0, 0), 3, 9),
            (2, "review", "T7", (1, 1), 4, 1),
            (3, "review", "T7", (2, 2), 4, 5),
            (4, "variance", "T5", (3, 3), 1, 1),
        ],
        [((n, n), "case", "review") for n in range(5)],
    )
    line = score.cases["case"]
    assert (line.review_first.count, line.review_later.count, line.missed.count) == (3, 1, 1)
    assert score.tiers["T7"].review_later == Amount(1, 300)
    assert score.tiers["none"].missed == Amount(1, 500)
    assert (score.review_share.hit, score.review_share.of) == (3, 5)
    assert score.review_share.cents_share == pytest.approx(700 / 1500)


def test_a_sum_counts_only_with_exactly_its_rows(tmp_path: Path) -> None:
    truth: list[tuple[Pair, str, str]] = [((n, 7), "bulk", "auto") for n in range(3)]
    whole = [(1, "auto", "T8", (n, 7), 1, 1) for n in range(3)]
    assert result(tmp_path, whole, truth).cases["bulk"].auto_right.count == 3
    score = result(tmp_path, whole[:2], truth)
    assert score.wrong.count == 2
    assert score.cases["bulk"].missed.count == 3
    more = [*whole, (1, "auto", "T8", (3, 7), 1, 1)]
    assert result(tmp_path, more, truth).wrong.count == 4
    # The same sums for review: the whole one is found, a part of it is not.
    shown = as_status("review", whole)
    assert result(tmp_path, shown, truth).cases["bulk"].review_first.count == 3
    assert result(tmp_path, shown[:2], truth).cases["bulk"].missed.count == 3
    # One of several payments of a remittance is no match by itself, but a person sees it.
    several: list[tuple[Pair, str, str]] = [((5, n), "split", "review") for n in (1, 2)]
    assert result(tmp_path, [(1, "auto", "T1", (5, 1), 1, 1)], several).wrong.count == 1
    one = result(tmp_path, [(1, "review", "T5", (5, 1), 1, 1)], several).cases["split"]
    assert (one.review_first.count, one.missed.count) == (1, 1)


def test_what_nothing_tells_apart_belongs_to_review(tmp_path: Path) -> None:
    truth: list[tuple[Pair, str, str]] = [
        ((0, 0), "twins", "indistinguishable"),
        ((1, 1), "twins", "indistinguishable"),
    ]
    crossed = [(1, "review", "T7", (0, 1), 1, 1), (2, "review", "T7", (1, 0), 1, 1)]
    assert result(tmp_path, crossed, truth).tie_share.share == 1.0
    assert result(tmp_path, [], truth).tie_share.share == 0.0
    swapped = as_status("auto", crossed)
    score = result(tmp_path, swapped, truth)
    assert (score.wrong.count, score.tie_share.share) == (2, 0.0)


def test_bounds_are_wilsons_and_the_rule_of_three() -> None:
    low, high = bounds(9, 10)
    assert (low, high) == (pytest.approx(0.5958, abs=1e-4), pytest.approx(0.9821, abs=1e-4))
    assert bounds(1_000_000, 1_000_000) == (pytest.approx(1 - 3e-6), 1.0)
    assert bounds(0, 300) == (0.0, pytest.approx(0.01))
    assert bounds(1, 1) == (0.0, 1.0)


def test_scores_add_up(tmp_path: Path) -> None:
    one = result(
        tmp_path, [(1, "auto", "T1", (0, 0), 1, 1)], [((n, n), "clean", "auto") for n in (0, 1)]
    )
    two = result(tmp_path, [(1, "auto", "T2", (4, 4), 1, 1)], [((4, 4), "zeros", "auto")])
    both = one + two
    assert (both.auto_share.hit, both.auto_share.of) == (2, 3)
    assert both.auto_share.low is not None
    assert set(both.cases) == {"clean", "zeros"}
    assert both.tiers["T2"].auto_right == Amount(1, 500)


def test_a_truth_of_another_feed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="1 of 1 rows name items that the result does not have"):
        result(tmp_path, [], [((99, 0), "clean", "auto")])
    with pytest.raises(ScoreError, match="'expect'"):
        result(tmp_path, [], [((0, 0), "clean", "perhaps")])
    with pytest.raises(ScoreError, match="twice"):
        result(tmp_path, [], [((0, 0), "a", "auto"), ((0, 0), "b", "auto")])
    (tmp_path / "matches.csv").unlink()
    with pytest.raises(TableError, match=r"matches\.csv"):
        score_result(tmp_path, tmp_path)


def test_an_empty_feed_has_no_shares(tmp_path: Path) -> None:
    score = result(tmp_path, [], [])
    assert score.failures() == []
    assert score.precision.share is None
    assert json.loads(to_json(score))["precision"]["of"] == 0


def test_the_command_prints_tables_or_json_and_checks(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(score_command)
    result(tmp_path, [(1, "auto", "T1", (0, 1), 1, 1)], [((0, 0), "clean", "auto")])
    run = CliRunner().invoke(app, [str(tmp_path), str(tmp_path / "truth.csv")])
    assert run.exit_code == 0
    for words in ("By tier", "clean", "precision", "missed: 1 automatic pairs are wrong"):
        assert words in run.output
    run = CliRunner().invoke(app, [str(tmp_path), str(tmp_path), "--json", "--check"])
    assert run.exit_code == 1
    assert json.loads(run.output)["tiers"]["T1"]["auto_wrong"] == {"count": 1, "cents": 100}
    run = CliRunner().invoke(app, [str(tmp_path / "none"), str(tmp_path)])
    assert (run.exit_code, "cannot be read" in run.output) == (2, True)
