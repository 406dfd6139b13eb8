"""Records read from files: what is accepted, and how each mistake is told."""

import gzip
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, SecretStr

from therapysim.documents import Unreadable, json_value, yaml_value
from therapysim.errors import ConfigError
from therapysim.records import STRICT, Record, read_record, read_rows, record_of, schema_of, wrong


@dataclass(frozen=True, slots=True)
class Point:
    """A plain dataclass, that checks itself."""

    __pydantic_config__ = STRICT

    x: float
    at: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.x > 100:
            raise ConfigError(f"x is {self.x:g}, expected at most 100")


def no_seven(values: tuple[int, ...]) -> tuple[int, ...]:
    if 7 in values:
        raise wrong("{7}", "any other", f"[{values.index(7)}].depth")
    return values


class Kept(Record):
    format: Literal["kept"]
    version: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    count: Annotated[int, Field(ge=0, le=27)]
    share: Annotated[float, Field(gt=0.5)] | None
    kind: Literal["a", "b"]
    point: Point
    points: Annotated[tuple[Point, ...], Field(min_length=1)]
    terms: dict[str, float]
    either: int | tuple[int, ...]
    key: SecretStr = SecretStr("")
    numbers: Annotated[tuple[int, ...], AfterValidator(no_seven)] = ()
    note: Any = None


POINT = {"x": 1, "at": [0.5, 1, 2]}
GOOD: dict[str, Any] = {
    "format": "kept", "version": 1, "name": "n", "count": 3, "share": None, "kind": "a", "point": POINT,
    "points": [POINT], "terms": {"x": 1}, "either": 3,
}  # fmt: skip


def test_a_record_is_read_as_json_gives_it() -> None:
    kept = record_of(GOOD, Kept, ConfigError, "here")
    assert kept.point == Point(1.0, (0.5, 1.0, 2.0)) and isinstance(kept.point.x, float)
    assert kept.points == (kept.point,) and kept.terms == {"x": 1.0}


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"version": 2, "more": 1}, "version is 2, expected 1; update TherapySim to read a newer file (and 1 more)"),
    ({"format": "other"}, "format is 'other', expected kept"),
    ({"name": ""}, "name is '', expected a text that is not empty (put it in quotes)"),
    ({"name": None}, "name is empty, expected a text that is not empty (put it in quotes)"),
    ({"count": 31}, "count is 31, expected 0–27, a whole number"),
    ({"count": True}, "count is True, expected 0–27, a whole number"),
    ({"count": 3.0}, "count is 3.0, expected 0–27, a whole number"),
    ({"count": "3"}, "count is '3', expected 0–27, a whole number"),
    ({"count": 10**4_200}, "count is a number of thousands of digits, expected 0–27, a whole number"),
    ({"share": 0}, "share is 0, expected a finite number above 0.5 or nothing"),
    ({"share": math.nan}, "share is nan, expected a finite number above 0.5 or nothing"),
    ({"kind": "c"}, "kind is 'c', expected one of a, b"),
    ({"kind": "\ud800"}, "the content holds what no text may hold: "),
    ({"point": 3}, "point is 3, expected a mapping of x, at"),
    ({"point": {"x": 1}}, "point.at is missing, expected a list of 3 numbers; add the field"),
    ({"point": POINT | {"y": 1}}, "point.y is an unknown field; known are x, at"),
    ({"point": POINT | {"at": [1, 2]}}, "point.at is a list of 2, expected a list of 3 numbers"),
    ({"point": POINT | {"at": [1, 2, 3, 4]}}, "point.at is a list of 4, expected a list of 3 numbers"),
    ({"point": POINT | {"x": 101}}, "point: x is 101, expected at most 100"),
    ({"points": []}, "points is a list of 0, expected a list of at least 1 points"),
    ({"points": [POINT | {"x": "1"}]}, "points[0].x is '1', expected a finite number"),
    ({"points": [POINT, POINT | {"at": [1, 2, None]}]}, "points[1].at[2] is empty, expected a finite number"),
    ({"terms": {"x": "y"}}, "terms.x is 'y', expected a finite number"),
    ({"terms": {"\x1b[0m": "y"}}, r"terms.'\x1b[0m' is 'y', expected a finite number"),
    ({"either": "3"}, "either is '3', expected a whole number or a list of whole numbers"),
    ({"key": 5}, "key is a secret that is not shown, expected a text (put it in quotes)"),
    ({"numbers": [1, 7]}, "numbers[1].depth is {7}, expected any other"),
    ({"kin": 1}, "kin is an unknown field; did you mean 'kind'?"),
    ({"note": {1, 2}}, "it is no plain data (Object of type set is not JSON serializable), expected texts"),
    ({"name": "z" * 99, "kind": "z" * 99}, f"kind is '{'z' * 56}..., expected one of a, b"),
]


@pytest.mark.parametrize(("change", "told"), FAULTS, ids=[told[:50] for _, told in FAULTS])
def test_a_mistake_is_told(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        record_of(GOOD | change, Kept, ConfigError, "here")
    assert str(error.value).startswith(f"here: {told}")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("value", [None, [], 3, "text"])
def test_what_is_no_mapping_is_told(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"the content is .*, expected a mapping of format, version, .* and 5 more"):
        record_of(value, Kept, ConfigError, "here")


def test_numbers_are_kept_to_the_last_bit() -> None:
    rng = random.Random(0)
    values = [rng.uniform(-1, 1) * 10 ** rng.randint(-300, 300) for _ in range(10_000)]
    assert record_of(values, tuple[float, ...], ConfigError, "here") == tuple(values)  # type: ignore[arg-type]


def test_the_schema_says_what_an_error_expects() -> None:
    schema = schema_of(Kept)
    assert schema["properties"]["count"] | {"title": ""} == {
        "title": "",
        "type": "integer",
        "minimum": 0,
        "maximum": 27,
    }


# --- files -----------------------------------------------------------------------------------------


def as_yaml(path: Path) -> Path:
    path.write_text(json.dumps(GOOD), encoding="utf-8")  # JSON is YAML too
    return path


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.yml"])
def test_a_file_is_a_record(tmp_path: Path, name: str) -> None:
    assert read_record(as_yaml(tmp_path / name), Kept, ConfigError).name == "n"


def test_a_file_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(GOOD | {"count": 28}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.json: count is 28"):
        read_record(path, Kept, ConfigError)
    with pytest.raises(ConfigError, match=r"^session 5: count is 28"):
        read_record(path, Kept, ConfigError, "session 5")


def rows(path: Path, text: bytes) -> Path:
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


ROW = json.dumps(POINT).encode() + b"\n"


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_rows_are_records(tmp_path: Path, name: str) -> None:
    assert len(list(read_rows(rows(tmp_path / name, ROW + b"\r\n" + ROW), Point, ConfigError))) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ROW + b'{"x": 1}\n', "line 2: at is missing"),
        (ROW + b"\xff\n", "line 2: the file cannot be read as text: byte 1 is no UTF-8"),
        (ROW + b"[" * 100_000 + b"\n", "line 2: the file cannot be read as JSON"),
        (ROW + b'{"x": 1, "x": 1}\n', "line 2: 'x' is given twice"),
        (ROW + b'{"x": NaN}\n', "line 2: NaN is no number that can be used"),
        (ROW + b"null\n", "line 2: the content is empty"),
        (ROW + ROW[:5], "line 2: the file cannot be read as JSON"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(tmp_path: Path, text: bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=f"a.jsonl: {told}"):
        list(read_rows(rows(tmp_path / "a.jsonl", text), Point, ConfigError))


def test_the_last_line_end_may_be_missing(tmp_path: Path) -> None:
    assert len(list(read_rows(rows(tmp_path / "a.jsonl", ROW + ROW[:-1]), Point, ConfigError))) == 2


def test_a_row_that_was_cut_off_may_be_left_out(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.jsonl", ROW + ROW[:5])
    assert len(list(read_rows(path, Point, ConfigError, broken_end=True))) == 1


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(ROW * 50, mtime=0)[:-20]], ids=["none", "cut off"])
def test_a_broken_archive_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"a\.jsonl\.gz: the file cannot be read"):
        list(read_rows(path, Point, ConfigError))


def test_a_small_archive_cannot_grow_without_limit(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.jsonl.gz", b" " * 10_000_000)
    with pytest.raises(ConfigError, match="too large, expected at most 1,000,000 bytes"):
        list(read_rows(path, Point, ConfigError, most_bytes=1_000_000))


@pytest.mark.parametrize(("read", "name"), [(json_value, "JSON"), (yaml_value, "YAML")])
def test_yaml_and_json_agree(read: Callable[[str], Any], name: str) -> None:
    text = '{"a": [1, -2, 0.5, 5e-6, true, false, null, "\\u00e9\\n"], "b": {}}'
    assert read(text) == {"a": [1, -2, 0.5, 5e-6, True, False, None, "é\n"], "b": {}}
    with pytest.raises(Unreadable, match=f"cannot be read as {name}"):
        read('{"a": ')


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("030", 30), ("-0", 0), ("+7", 7), ("5e-6", 5e-6), (".5", 0.5), ("1.", 1.0), ("True", True), ("NULL", None),
        ("", None), ("yes", "yes"), ("1_000", "1_000"), ("1:30", "1:30"), ("0x1F", "0x1F"), (".nan", ".nan"),
        (".inf", ".inf"), ("2024-01-31", "2024-01-31"), ("'30'", "30"), ('"true"', "true"), ("|\n  30", "30"),
        ("٣", "٣"), ("=", "="),
    ],
)  # fmt: skip
def test_yaml_is_read_as_a_person_means_it(text: str, value: Any) -> None:
    found = yaml_value(f"a: {text}")["a"]
    assert found == value and type(found) is type(value)
