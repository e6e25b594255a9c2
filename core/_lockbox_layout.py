"""Layouts of lockbox lists: what a user writes of where a bank's list has its fields."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from reassoc.core._lockbox_values import AmountForm, DateForm
from reassoc.core.errors import LayoutError

LINE_BYTES_MAX = 64 << 10
"""Bytes of one line; a longer one is a broken row."""
HEAD_BYTES_MAX = 4096
"""Bytes of the first line that `first_line` looks at."""
FIELDS_MAX = 1000
"""Columns of a row, and bytes of a fixed record."""
BOM = b"\xef\xbb\xbf"


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a field stands, exactly one of: column, the name in the header row or the number from
    1; start and length, in bytes from 1; value, for all rows."""

    column: int | str | None = None
    start: int | None = None
    length: int | None = None
    value: str | None = None


class AmountPlace(Place, frozen=True, kw_only=True):
    """An amount. form: "decimal" is 1,234.56 or 1234; "implied" is digits of which the last
    `decimals` are behind the point: 2 for cents, 0 for whole dollars."""

    form: Literal["decimal", "implied"] = "decimal"
    decimals: int = 2


class DatePlace(Place, frozen=True, kw_only=True):
    """A date. format: YYYY or YY, MM or M, DD or D, and what stands between them."""

    format: str = "YYYYMMDD"


class Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a row says.

    check_number, amount, deposit_date
    deposit : number of the deposit or batch that the check is part of
    payer_id, payer_name, payer_routing, payer_account : who drew the check
    payee_routing, payee_account : where it was paid in
    trace : number that the remitter gave, for money that is no check
    """

    check_number: Place | None = None
    amount: AmountPlace | None = None
    deposit_date: DatePlace | None = None
    deposit: Place | None = None
    payer_id: Place | None = None
    payer_name: Place | None = None
    payer_routing: Place | None = None
    payer_account: Place | None = None
    payee_routing: Place | None = None
    payee_account: Place | None = None
    trace: Place | None = None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows whose fields hold for the details behind them, until the next row of the same kind."""

    types: tuple[str, ...]
    fields: Fields


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows that say how many details there are and what they come to: in the whole list, or since
    the last row of this kind (batch)."""

    types: tuple[str, ...]
    scope: Literal["file", "batch"] = "file"
    count: Place | None = None
    amount: AmountPlace | None = None


class Recognise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which files have this layout. names : patterns such as "LBX*.csv", any of them; first_line :
    a regular expression found in the first line. Where both are given, both must hold."""

    names: tuple[str, ...] = ()
    first_line: str = ""


class LockboxLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one bank writes its lists.

    name : for people
    format : "csv" or "fixed"
    source : what the money is: "check", "ach" or "wire"
    encoding : of its texts
    delimiter, quote : of csv; quote may be empty    header_rows : rows before the data; the last
        of them names the columns
    record_bytes : of fixed, where records are not lines
    record_type : where the kind of a row stands; without it all rows are details
    detail_types, skipped_types : kinds of rows; headers and totals have their own

    Raises LayoutError naming the key.
    """

    name: str
    format: Literal["csv", "fixed"]
    recognise: Recognise
    fields: Fields
    source: Literal["check", "ach", "wire"] = "check"
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    header_rows: int = 0
    record_bytes: int = 0
    record_type: Place | None = None
    detail_types: tuple[str, ...] = ()
    skipped_types: tuple[str, ...] = ()
    headers: tuple[Header, ...] = ()
    totals: tuple[Totals, ...] = ()

    def __post_init__(self) -> None:
        if not self.recognise.names and not self.recognise.first_line:
            raise LayoutError("recognise must have names or first_line")
        try:
            re.compile(self.recognise.first_line)
        except re.error as error:
            raise LayoutError(f"recognise.first_line is no regular expression: {error}") from error
        if len(self.delimiter) != 1 or len(self.quote) > 1:
            raise LayoutError("delimiter must be one character, quote one or none")
        if not 0 <= self.header_rows <= 100:
            raise LayoutError("header_rows must be from 0 to 100")
        if not 0 <= self.record_bytes <= FIELDS_MAX:
            raise LayoutError(f"record_bytes must be from 0 to {FIELDS_MAX}")
        if self.fields.amount is None:
            raise LayoutError("fields.amount is missing: without it nothing can be matched")
        if self.record_type is None and (self.detail_types or self.headers or self.totals):
            raise LayoutError("record_type is missing: it says which rows are of which type")
        if self.record_type is not None and not self.detail_types:
            raise LayoutError("detail_types is missing: it says which rows are checks")
        self._check_types()
        for key, place in self.places():
            _check_place(key, place, self.format, self.header_rows)

    def _check_types(self) -> None:
        owners: dict[str, str] = {}
        kinds = [("detail_types", self.detail_types), ("skipped_types", self.skipped_types)]
        kinds += [(f"headers[{i}].types", one.types) for i, one in enumerate(self.headers)]
        kinds += [(f"totals[{i}].types", one.types) for i, one in enumerate(self.totals)]
        for key, types in kinds:
            for kind in types:
                if owners.setdefault(kind, key) != key:
                    raise LayoutError(f"{key} has a type that {owners[kind]} has too")

    def places(self) -> Iterator[tuple[str, Place]]:
        """Every place that it names, by key."""
        if self.record_type is not None:
            yield "record_type", self.record_type
        groups = [("fields", self.fields)]
        groups += [(f"headers[{i}].fields", one.fields) for i, one in enumerate(self.headers)]
        for key, fields in groups:
            for name in fields.__struct_fields__:
                if getattr(fields, name) is not None:
                    yield f"{key}.{name}", getattr(fields, name)
        for number, totals in enumerate(self.totals):
            if totals.count is not None:
                yield f"totals[{number}].count", totals.count
            if totals.amount is not None:
                yield f"totals[{number}].amount", totals.amount

    def fits(self, name: str, head: bytes) -> bool:
        """Whether a file of this name (its last part counts) that begins so has this layout."""
        base = name.replace("!", "/").rsplit("/", 1)[-1].lower()
        names, first_line = self.recognise.names, self.recognise.first_line
        if names and not any(fnmatch.fnmatchcase(base, glob.lower()) for glob in names):
            return False
        line = head.removeprefix(BOM).lstrip(b"\r\n")[:HEAD_BYTES_MAX]
        first = re.split(rb"[\r\n]", line, maxsplit=1)[0].decode("latin-1")
        return not first_line or re.search(first_line, first) is not None


def _check_place(key: str, place: Place, form: str, header_rows: int) -> None:
    given = [place.column is not None, place.start is not None, place.value is not None]
    if sum(given) != 1:
        raise LayoutError(f"{key} must have exactly one of column, start with length, and value")
    if (place.start is None) != (place.length is None):
        raise LayoutError(f"{key} must have both start and length, or none of them")
    if place.column is not None and form == "fixed":
        raise LayoutError(f"{key}.column says nothing in a fixed layout: use start and length")
    if place.start is not None and form == "csv":
        raise LayoutError(f"{key}.start says nothing in a csv layout: use column")
    if isinstance(place.column, str) and not header_rows:
        raise LayoutError(f"{key}.column is a name, but header_rows is 0")
    if isinstance(place.column, int) and not 1 <= place.column <= FIELDS_MAX:
        raise LayoutError(f"{key}.column must be from 1 to {FIELDS_MAX}")
    start = 1 if place.start is None else place.start
    length = 1 if place.length is None else place.length
    if start < 1 or length < 1 or start + length > LINE_BYTES_MAX:
        raise LayoutError(f"{key} must lie within LINE_BYTES_MAX ({LINE_BYTES_MAX} bytes), from 1")
    try:
        if isinstance(place, AmountPlace):
            AmountForm(place.form, place.decimals)
        elif isinstance(place, DatePlace):
            DateForm(place.format)
    except ValueError as error:
        raise LayoutError(f"{key}.{error}") from error
