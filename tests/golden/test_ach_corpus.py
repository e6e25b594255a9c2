"""Every ACH sample gives its golden summary, and the notes that came with the samples agree."""

from __future__ import annotations

import json
import re
from typing import Any

from ach_compare import compiled_rows, differences, twin_rows
from corpus import ACH_ROOT, Sample
from make_ach_summaries import SUMMARIES, summary, unpacked

from reassoc.core.ach import read_ach

QUIRKS = {
    "batch count≠control": {"ACH_BATCH_ENTRY_COUNT"},
    "batch hash≠control": {"ACH_BATCH_HASH"},
    "batch totals≠control": {"ACH_BATCH_DEBIT_TOTAL", "ACH_BATCH_CREDIT_TOTAL"},
    "file count≠control": {"ACH_FILE_ENTRY_COUNT"},
    "file hash≠control": {"ACH_FILE_HASH"},
    "block count≠": {"ACH_FILE_BLOCK_COUNT"},
    "not blocked to 10": {"ACH_FILE_FILLER_MISSING"},
    "trace not ascending": {"ACH_TRACE_ORDER"},
    "service class 5≠8": {"ACH_SERVICE_CLASS_DIFFERS"},
    "0 file controls": {"ACH_FILE_CONTROL_MISSING"},
    "first record is '5'": {"ACH_FILE_HEADER_MISSING"},
}
"""What the notes call a quirk, and the findings that say the same."""

_NO_CONTROL = "has no record 9: what it was filled up with cannot be said before its end"
EXPLAINED: dict[str, tuple[str, set[str]]] = {
    "dwilkins__nacha/ACH ORIGIN SAMPLE.txt": (
        "begins with record 9, so its header is missing too",
        {"first record is '5'"},
    ),
    "dwilkins__nacha/ccd_invalid_3.txt": (
        "its second header begins with 6: an unreadable entry, in a batch without a header "
        "(the notes count headers)",
        {"batches", "sec", "batch count≠control"},
    ),
    "dwilkins__nacha/ppd_valid_1.txt": (
        "has eleven records, which are two blocks, and says one",
        {"block count≠"},
    ),
    "moov-io__ach/3.ach": (
        "is two files, each with a right block count of its own; the notes count them as one",
        {"block count≠"},
    ),
    "moov-io__ach/file_parsing_missing_file_control.txt": (
        "has a record 9 that is cut after its first column",
        {"0 file controls"},
    ),
    "rubyritas__ach/return_fixedlength.txt": (
        "has no line ends; the notes took it for one record",
        {"records", "batches", "entries_in_batches", "sec", "not blocked to 10", "0 file controls"},
    ),
    **{
        f"moov-io__ach{name}": (_NO_CONTROL, {"not blocked to 10"})
        for name in (
            "/0.ach",
            "/2.ach",
            "/adv-noFileControl.ach",
            "/d8f3557bf70ce706c9efbfcfd8143f131a2eef20",
            "/issue751.ach",
            "/no_control.txt",
            "/return-no-file-header-control.ach",
            "gateway/forward.ach",
            "gateway/partial-recon.ach",
            "gateway/recon.ach",
            "gateway/return.ach",
        )
    },
}
"""Where we say something else than the notes: why, and in what."""

_CONTENTS = re.compile(r"(\d+) rec, (\d+) batch, (\d+) entry; SEC (\S+); addenda")


def summaries() -> dict[str, Any]:
    """The golden summaries, by name of the sample."""
    return dict(json.loads(SUMMARIES.read_text()))


def test_every_sample_gives_its_summary(ach_samples: list[Sample]) -> None:
    expected = summaries()
    assert [sample.name for sample in ach_samples] == list(expected)
    for sample in ach_samples:
        found = summary(compiled_rows([read_ach(unpacked(sample.data))]))
        assert found == expected[sample.name], sample.name


def test_every_sample_gives_what_the_twin_gives(ach_samples: list[Sample]) -> None:
    for sample in ach_samples:
        data = unpacked(sample.data)[:400_000]
        assert differences(compiled_rows([read_ach(data)]), twin_rows(data)) == [], sample.name


def test_the_notes_of_the_samples_agree(ach_samples: list[Sample]) -> None:
    assert ach_samples
    seen = set()
    for line in (ACH_ROOT / "SOURCES.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        contents = _CONTENTS.match(cells[5]) if len(cells) > 7 else None
        if contents is None:
            continue
        name, found = cells[1], summaries()[cells[1]]
        counts = zip(
            ("records", "batches", "entries_in_batches"), contents.groups()[:3], strict=True
        )
        differs = {field for field, count in counts if found[field] != int(count)}
        if ("/".join(found["sec"]) or "-") != contents[4]:
            differs.add("sec")
        differs |= {
            quirk
            for quirk, codes in QUIRKS.items()
            if (quirk in cells[6]) != bool(codes & found["findings"].keys())
        }
        assert differs == EXPLAINED.get(name, ("", set()))[1], name
        seen.add(name)
    assert seen == set(summaries())
