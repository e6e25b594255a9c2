"""No value of a file ever stands in an error, a log or a finding, whatever is wrong with it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from bai2_build import detail, report
from small_feed import Entry, ach_file, interchange, remittance
from typer.testing import CliRunner

from reassoc.core.lockbox import LockboxLayout
from reassoc.stream import cli
from reassoc.stream.intake import read_source
from reassoc.stream.sources import discover

DAMAGES = 90
SEED = 20260316
_WORD = "QZXWVKJY"


class Canaries:
    """Values that stand nowhere else, each made once and remembered."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.amounts: list[str] = []

    def text(self, size: int = 10) -> str:
        number = len(self.texts)
        letters = "".join(_WORD[number // 8**place % 8] for place in range(4))
        self.texts.append(("QQ" + letters + "ZZZZZZZZZZZZZZ")[:size])
        return self.texts[-1]

    def digits(self, size: int) -> str:
        number = f"{7_317_000_000_000_000 + 7_919 * (len(self.texts) + 1)}"[-size:].rjust(size, "7")
        self.texts.append(number)
        return number

    def cents(self) -> int:
        value = 91_840_000 + 7 * len(self.amounts)
        self.amounts.append(f"{value // 100}.{value % 100:02d}")
        return value


def x12_with(canaries: Canaries) -> bytes:
    """An 835 with a canary in every field that holds a value of somebody."""
    text, digits = canaries.text, canaries.digits
    amount = canaries.cents()
    money = canaries.amounts[-1]
    claims = (
        f"CLP*{text()}*1*{money}*{money}**12*{text()}*11*1",
        f"NM1*QC*1*{text()}*{text()}*{text()}***MI*{text()}",
        f"NM1*82*1*{text()}*{text()}****XX*{digits(10)}",
        f"REF*EA*{text()}",
        "DTM*232*20190817",
        f"PER*CX*{text()}*TE*{digits(10)}",
        f"SVC*HC:99213*{money}*{money}**1",
        "DTM*472*20190818",
        f"REF*6R*{text()}",
    )
    sound = remittance(text(), amount, payer=digits(10), claims=claims).decode()
    sound = sound.replace("RIVER CLINIC", text()).replace("1999999984", digits(10))
    sound = sound.replace("112223333", digits(9)).replace("5566778", digits(9))
    sound = sound.replace("998877", digits(8)).replace("EXAMPLE HEALTH", text())
    return interchange(sound.encode(), remittance(text(), canaries.cents(), control="0002"))


def ach_with(canaries: Canaries, payload: bytes) -> bytes:
    """An ACH file with canaries in accounts, names, traces, amounts; a CTX with an 835 beside."""
    text, digits = canaries.text, canaries.digits
    entries = [
        Entry(canaries.cents(), text(), digits(10), account=digits(12), receiver=text())
        for _ in range(3)
    ]
    entries.append(Entry(canaries.cents(), payload=payload, account=digits(12), receiver=text()))
    return ach_file(*entries)


def bank_with(canaries: Canaries) -> bytes:
    """A bank's report with canaries in accounts, references, names, traces, amounts."""
    text, digits = canaries.text, canaries.digits
    records: list[str] = []
    total = 0
    for code in (165, 195, 115, 116, 557, 475):
        total += canaries.cents()
        cents = canaries.amounts[-1].replace(".", "")
        records += detail(
            int(cents),
            f"{text()} DES:{text()} ID:{digits(9)} INDN:{text()} CO ID:{digits(10)}",
            code=code,
            bank=text(),
            customer=digits(15),
            more=[f"TRN*1*{text()}*{digits(10)}", f"DBNM: {text()}", f"DACT: {digits(12)}"],
        )
    account = f"03,{digits(12)},USD,010,{canaries.cents()},,/"
    return report(*records, total=total, account=account)


def list_with(canaries: Canaries) -> bytes:
    """A lockbox list with a canary in every field."""
    text, digits = canaries.text, canaries.digits
    rows = [b"Check,Amount,Date,Payer,Name,Routing,Account"]
    for _ in range(4):
        canaries.cents()
        row = f"{digits(9)},{canaries.amounts[-1]},2026-03-16,{digits(10)},{text()},{digits(9)}"
        rows.append(f"{row},{digits(12)}".encode())
    return b"\n".join([*rows, b""])


LAYOUT = """
name = "Example"
format = "csv"
header_rows = 1
[recognise]
names = ["l*"]
[fields]
check_number = { column = "Check" }
amount = { column = "Amount" }
deposit_date = { column = "Date", format = "YYYY-MM-DD" }
payer_id = { column = "Payer" }
payer_name = { column = "Name" }
payer_routing = { column = "Routing" }
payer_account = { column = 7 }
payee_routing = { column = "Routing" }
"""


def test_nothing_of_a_bank_file_stands_in_errors_or_findings(tmp_path: Path) -> None:
    canaries = Canaries()
    canaries.texts.append("QQQQQQZZZZ")
    layout = msgspec.toml.decode(LAYOUT, type=LockboxLayout)
    said = [repr(layout)]
    chance = random.Random(SEED)
    for name, data in (("b", bank_with(canaries)), ("l", list_with(canaries))):
        forms = [data, *damaged(data, chance)]
        forms += [form.replace(b"*", b",") for form in damaged(data.replace(b",", b"*"), chance)]
        for form in forms:
            (tmp_path / name).write_bytes(form)
            (source,) = discover([tmp_path / name]).sources
            items = read_source(source, tmp_path, layouts=[layout])
            said.append(items.reason)
            assert "internal error" not in items.reason
            said += [repr(part) for part in items.payments]
            if items.findings is not None:
                items.findings.seek(0)
                said.append(items.findings.read().decode())
                items.findings.close()
            seen = CliRunner().invoke(cli.app, ["inspect", "--mask", str(source.path)])
            assert seen.exit_code in (0, 1), seen.output
            said.append(seen.stderr)
    assert sum(len(text.splitlines()) for text in said) > DAMAGES
    for text in said:
        for canary in canaries.texts + canaries.amounts:
            assert canary not in text, canary


def test_a_masked_bank_report_shows_traces_and_payers_only(tmp_path: Path) -> None:
    canaries = Canaries()
    data = bank_with(canaries)
    path = tmp_path / "b"
    path.write_bytes(data)
    shown = CliRunner().invoke(cli.app, ["inspect", "--mask", str(path)])
    assert shown.exit_code == 0
    found = re.findall(r"TRN\*1\*(\w+)\*(\w+)", data.decode())
    kept = {value for pair in found for value in pair}
    kept |= set(re.findall(r"16,(?:116|475),\d+,Z,\w+,(\w+),", data.decode()))  # check numbers
    assert all(value in shown.stdout for value in found[0])
    hidden = [text for text in canaries.texts if text not in kept]
    assert len(hidden) > len(kept)
    assert [text for text in hidden if text in shown.stdout] == []


def damaged(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """The data in one damaged form after the other."""
    segments = data.split(b"~")
    for _ in range(DAMAGES):
        kind = chance.randrange(8)
        place, other = sorted(chance.choices(range(len(data)), k=2))
        if kind == 0:
            yield data[:place]
        elif kind == 1:
            yield data[:place] + data[other:]
        elif kind == 2:
            yield data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
        elif kind == 3:
            yield data[:place] + data[place:other] * 2 + data[other:]
        elif kind == 4:
            yield data.replace(b"*", chance.choice([b"", b"**", b"~", b"\n", b"* "]))
        elif kind == 5:
            yield b"~".join(chance.sample(segments, len(segments)))
        elif kind == 6:
            # A canary where a number or a date is awaited.
            pieces = data.split(b"*")
            pieces[chance.randrange(len(pieces))] = b"QQQQQQZZZZ"
            yield b"*".join(pieces)
        else:
            yield data[place:]


def test_nothing_of_a_file_stands_in_errors_findings_or_masked_views(tmp_path: Path) -> None:
    canaries = Canaries()
    canaries.texts.append("QQQQQQZZZZ")
    x12 = x12_with(canaries)
    ach = ach_with(canaries, x12)
    chance = random.Random(SEED)
    feed = tmp_path / "feed"
    feed.mkdir()
    for name, data in (("x", x12), ("a", ach)):
        (feed / name).write_bytes(data)
        for number, broken in enumerate(damaged(data, chance)):
            (feed / f"{name}{number:03d}").write_bytes(broken)
    out = tmp_path / "out"
    result = CliRunner().invoke(cli.app, ["match", str(feed), "--out", str(out), "--json"])
    assert result.exit_code in (0, 1), result.output
    findings = (out / "findings.csv").read_text()
    assert len(findings.splitlines()) > DAMAGES
    reasons = (out / "summary.json").read_text()
    assert "internal error" not in reasons
    said = [result.stdout, result.stderr, findings, reasons]
    for source in discover([feed]).sources:
        seen = CliRunner().invoke(cli.app, ["inspect", "--mask", str(source.path)])
        assert seen.exit_code in (0, 1), seen.output
        said.append(seen.stderr)
        masked = seen.stdout
        for canary in personal(canaries):
            assert canary not in masked, (source.name, canary)
    for text in said:
        for canary in canaries.texts + canaries.amounts:
            assert canary not in text, canary


def personal(canaries: Canaries) -> list[str]:
    """Texts that --mask hides. Traces and payers are left: work goes on by them."""
    kept = {canaries.texts.index(text) for text in canaries.texts if text.isdigit()}
    return [text for number, text in enumerate(canaries.texts[1:8], 1) if number not in kept]


@pytest.mark.parametrize("mask", [True, False])
def test_control_characters_of_a_file_never_reach_the_terminal(tmp_path: Path, mask: bool) -> None:
    path = tmp_path / "x"
    path.write_bytes(interchange(remittance("\x1b[31mT1\x07", 100)).replace(b"DOE", b"D\x1b[2JE"))
    options = ["--mask"] if mask else []
    shown = CliRunner().invoke(cli.app, ["inspect", str(path), *options])
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "\x07" not in shown.stdout


def test_an_unforeseen_fault_says_its_place_and_not_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("QQSECRETZZ")

    path = tmp_path / "x"
    path.write_bytes(interchange(remittance("T1", 100)))
    arguments = ["reassoc", "match", str(path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setattr(cli, "add_plugins", lambda: None)
    monkeypatch.setattr(cli, "run_match", fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    said = capsys.readouterr()
    assert "ValueError at test_canary.py" in said.err
    assert "SECRET" not in said.out + said.err
    monkeypatch.undo()
    monkeypatch.setattr("reassoc.stream.intake.iter_835", fail)
    result = CliRunner().invoke(cli.app, ["match", str(path), "--out", str(tmp_path / "out2")])
    assert result.exit_code == 1
    assert "internal error" in result.stdout
    assert "SECRET" not in result.stdout + result.stderr
