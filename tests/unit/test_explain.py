"""`reassoc explain` over results made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reassoc.core.statuses import Reason, reason_text
from reassoc.stream import cli
from reassoc.stream.explanation import TIER_TEXTS, explain_match, masked
from reassoc.stream.report import LINK_COLUMNS, MATCH_COLUMNS, PAYMENT_COLUMNS, REMITTANCE_COLUMNS
from reassoc.stream.result import ResultError
from reassoc.stream.table import csv_cell

REMITTANCE = {
    "remit_file": "a.835",
    "payer_id": "1234567890",
    "payer_name": "EXAMPLE HEALTH",
    "remit_date": "2026-03-16",
    "payee_bank": "021000021",
    "payee_account": "000055667788",
    "payee_tin": "112223333",
    "payee_id": "1999999984",
    "payee_id_kind": "XX",
}
PAYMENT = {
    "payment_file": "b.ach",
    "payer_id": "1234567890",
    "company_id": "1234567890",
    "company_name": "EXAMPLE HLTH",
    "payment_date": "2026-03-18",
    "funding": "settled",
    "status": "suggested",
    "payee_bank": "021000021",
    "payee_account": "55667788",
}
MATCH = {
    "status": "review",
    "tier": "T7",
    "remit_file": "a.835",
    "payment_file": "b.ach",
    "difference_cents": "0",
    "weight": "2150",
    "evidence": "trace:-600 payer:750 payee:900 amount:1080 date:20",
    "rank": "1",
    "remittance_rank": "1",
    "rivals": "0",
    "days_apart": "2",
    "agreed": "payer amount payee",
    "differed": "date",
}


def table(path: Path, columns: str, rows: list[dict[str, str]]) -> None:
    lines = [columns] + [
        ",".join(csv_cell(row.get(name, "")) for name in columns.split(",")) for row in rows
    ]
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Remittances 0 to 3 of 1, 2, 3 and 3 dollars, payments 0 to 2 of 3, 3 and 9: a sum, two
    candidates that tie, and a variance."""
    remittances = [
        REMITTANCE
        | {"remit_ordinal": str(n), "trace": f"00{n}", "remit_cents": str(cents), "status": status}
        for n, (cents, status) in enumerate(
            [(100, "released"), (200, "released"), (300, "probable"), (300, "matched_variance")]
        )
    ]
    payments = [
        PAYMENT | {"payment_ordinal": str(n), "trace": trace, "payment_cents": str(cents)}
        for n, (trace, cents) in enumerate([("0077", 300), ("", 300), ("", 900)])
    ]

    def match(number: str, left: int, right: int, **cells: str) -> dict[str, str]:
        own = {"remit_cents": remittances[left]["remit_cents"]}
        own["payment_cents"] = payments[right]["payment_cents"]
        own |= {"remit_ordinal": str(left), "payment_ordinal": str(right)}
        return MATCH | own | {"match_id": number.rjust(16, "0")} | cells

    def reason(*reasons: Reason) -> str:
        return "payer, amount agree; " + "; ".join(map(reason_text, reasons))

    both = {"agreed": "trace payer", "differed": "amount", "rewrites": "trace_n3"}
    table(
        tmp_path / "matches.csv",
        MATCH_COLUMNS,
        [
            match("aa1", 0, 0, status="auto", tier="T8", evidence="", **both),
            match("aa1", 1, 0, status="auto", tier="T8", evidence="", **both),
            match("ab2", 2, 1, reason=reason(Reason.TIE, Reason.NO_PAYMENT_TRACE)),
            match("ac3", 2, 2, reason=reason(Reason.TIE), rank="2", remittance_rank="2"),
            match(
                "ad4", 3, 2, status="variance", tier="T5", difference_cents="600", cause="levy",
                differed="amount", agreed="trace payer", days_apart="",
            ),
        ],
    )  # fmt: skip
    table(tmp_path / "remittances.csv", REMITTANCE_COLUMNS, remittances)
    table(tmp_path / "payments.csv", PAYMENT_COLUMNS, payments)
    links = [
        {
            "kind": "return_of",
            "status": "review",
            "payment_file": "c.ach",
            "payment_ordinal": "5",
            "other_file": "b.ach",
            "other_ordinal": "1",
            "amount_cents": "300",
        }
    ]
    table(tmp_path / "links.csv", LINK_COLUMNS, links)
    return tmp_path


def test_a_candidate_is_explained_with_its_rivals_and_what_it_needs(out: Path) -> None:
    match = explain_match(out, "0000000000000ab2")
    assert (match.status, match.tier, match.days_apart) == ("review", "T7", 2)
    verdicts = {line.field: line.verdict for line in match.fields}
    assert verdicts == {
        "trace": "missing",
        "payer": "agree",
        "company": "seen",
        "payee": "agree",
        "amount": "agree",
        "date": "differ",
    }
    (rival,) = match.rivals
    assert (rival.match_id, rival.shares, rival.other) == (
        "0000000000000ac3",
        "the remittance",
        "b.ach #2",
    )
    assert match.reasons == [reason_text(Reason.TIE), reason_text(Reason.NO_PAYMENT_TRACE)]
    assert "fit equally well" in match.to_release[0]
    assert [link.kind for link in match.links] == ["return_of"]


def test_a_weight_is_told_field_by_field(out: Path) -> None:
    match = explain_match(out, "0000000000000ab2")
    assert match.evidence == {"trace": -600, "payer": 750, "payee": 900, "amount": 1080, "date": 20}
    assert sum(match.evidence.values()) == match.weight
    assert explain_match(out, "0000000000000aa1").evidence == {}
    printed = CliRunner().invoke(cli.app, ["explain", str(out), "0000000000000ab2"]).output
    lines = {line.split()[0]: line for line in printed.splitlines() if "█" in line}
    assert list(lines) == ["trace", "payer", "payee", "amount", "date"]
    assert "-6.0" in lines["trace"]
    assert lines["amount"].count("█") > lines["payer"].count("█") > lines["date"].count("█")


def test_a_sum_is_explained_as_a_whole(out: Path) -> None:
    match = explain_match(out, "0000000000000aa")
    assert [item.cents for item in match.remittances] == [100, 200]
    assert (match.remittance_cents, match.payment_cents, match.difference_cents) == (300, 300, 0)
    (amount,) = (line for line in match.fields if line.field == "amount")
    assert (amount.verdict, amount.remittance, amount.payment) == ("agree", "3.00", "3.00")
    assert match.rewrites == ["trace without leading zeros"]
    assert match.to_release == ["nothing: released, in "]


def test_a_variance_has_its_difference_and_cause(out: Path) -> None:
    match = explain_match(out, "0000000000000ad4")
    assert (match.difference_cents, match.cause, match.days_apart) == (600, "levy", None)
    assert match.cause_text.startswith("a levy")
    assert [rival.match_id[-3:] for rival in match.rivals] == ["ac3"]
    assert match.rivals[0].shares == "the payment"


def test_unknown_and_ambiguous_ids_are_refused(out: Path, tmp_path: Path) -> None:
    for text, words in [
        ("0000000000000a", "not unique: 0000000000000aa1, 0000000000000ab2, 0000000000000ac3, ..."),
        ("ffff", "no match ffff"),
        ("nonsense", "is no match id"),
        ("", "is no match id"),
        ("0" * 17, "is no match id"),
    ]:
        with pytest.raises(ResultError, match=words):
            explain_match(out, text)
    with pytest.raises(ResultError, match="no such folder"):
        explain_match(tmp_path / "none", "aa")
    (out / "payments.csv").unlink()
    with pytest.raises(ResultError, match=r"has no payments\.csv"):
        explain_match(out, "aa")


def test_accounts_are_masked_everywhere(out: Path) -> None:
    assert (masked("000055667788"), masked("7788"), masked("")) == ("...7788", "...", "")
    for flags in ([], ["--json"]):
        run = CliRunner().invoke(cli.app, ["explain", str(out), "0000000000000ab2", *flags])
        assert run.exit_code == 0
        for secret in ("55667788", "112223333"):
            assert secret not in run.output
        assert "...7788" in run.output


def test_the_command_prints_a_table_a_clerk_reads(out: Path) -> None:
    run = CliRunner().invoke(cli.app, ["explain", str(out), "0000000000000ab2"])
    text = " ".join(run.output.split())
    for words in (
        "REVIEW a candidate: a person decides",
        TIER_TEXTS["T7"],
        "The payment is dated 2 days after the remittance.",
        "several candidates fit equally well",
        "Other candidates of the same items",
        "This one is number 1 for its payment",
        "Linked: return of",
        "To be released, it needs:",
    ):
        assert words in text, words
    run = CliRunner().invoke(cli.app, ["explain", str(out), "0000000000000aa1"])
    assert "(of the sum)" in " ".join(run.output.split())
    run = CliRunner().invoke(cli.app, ["explain", str(out), "0000000000000ad4"])
    assert "The payment differs by 6.00; likely cause: a levy or withholding." in run.output


def test_the_command_ends_with_2_for_what_is_not_there(out: Path) -> None:
    for arguments in (["ffff"], ["x"]):
        run = CliRunner().invoke(cli.app, ["explain", str(out), *arguments])
        assert (run.exit_code, run.stdout) == (2, "")
    assert CliRunner().invoke(cli.app, ["explain", str(out / "none"), "a"]).exit_code == 2


@pytest.mark.parametrize("name", ["matches.csv", "payments.csv"])
def test_the_command_ends_with_1_where_a_table_is_damaged(out: Path, name: str) -> None:
    damaged = out / name
    damaged.write_bytes(b"" if name == "matches.csv" else damaged.read_bytes().splitlines(True)[0])
    for command in ("explain", "propose"):
        run = CliRunner().invoke(cli.app, [command, str(out), "0000000000000ab2"])
        assert run.exit_code == 1, run.output


def test_json_holds_all_of_it(out: Path) -> None:
    run = CliRunner().invoke(cli.app, ["explain", str(out), "0000000000000ac3", "--json"])
    value = json.loads(run.output)
    assert value["rank"] == 2
    assert {rival["match_id"][-3:] for rival in value["rivals"]} == {"ab2", "ad4"}


def test_every_tier_has_words() -> None:
    assert list(TIER_TEXTS) == [f"T{number}" for number in range(11)]


def test_approved_matches_propose_aliases(out: Path) -> None:
    path = out / "payments.csv"
    path.write_text(path.read_text().replace("1234567890", "9876543210"))
    run = CliRunner().invoke(cli.app, ["propose", str(out), "0000000000000ab2"])
    assert run.exit_code == 0
    for words in ("[[payers]]", "1234567890", "9876543210"):
        assert words in run.stdout
    directory = out / "directory.toml"
    directory.write_text(run.stdout)
    again = ["propose", str(out), "0000000000000ab2", "--directory", str(directory)]
    run = CliRunner().invoke(cli.app, again)
    assert (run.exit_code, run.stdout, "nothing to propose" in run.stderr) == (0, "", True)
    for arguments in ([str(out), "ffff"], [str(out / "none"), "aa"], [str(out)]):
        assert CliRunner().invoke(cli.app, ["propose", *arguments]).exit_code == 2
