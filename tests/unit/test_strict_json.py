"""JSON as RFC 7493 narrows it: each document has one meaning, and none costs more than its length."""

import gc
import json
from typing import Any

import pytest

from app import strict_json

DEPTHS = (10_000, 100_000, 1_000_000)


def refusal(document: str | bytes) -> str:
    with pytest.raises(ValueError, match=r"\S") as error:
        strict_json.loads(document)
    return str(error.value)


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 1.5, "", "text", "naïve \N{SNOWMAN} \U0001f600", [], {}, {"a": {"b": [1, {"c": None}]}}],
    ids=repr,
)
def test_what_json_can_say_is_read_as_it_was_meant(value: Any) -> None:
    document = json.dumps(value, ensure_ascii=False)
    assert strict_json.loads(document) == value
    assert strict_json.loads(document.encode()) == value


@pytest.mark.parametrize(
    "document",
    [
        '{"a":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a":1,"b":2,"a":3}',
        '{"outer":{"a":1,"a":2}}',
        '[{"a":1,"a":2}]',
        r'{"a":1,"\u0061":2}',
        '{"":1,"":2}',
    ],
)
def test_a_member_given_twice_is_refused_at_any_depth(document: str) -> None:
    assert refusal(document) == "an object has a member twice"


def test_one_name_in_two_objects_is_no_duplicate() -> None:
    assert strict_json.loads('[{"a":1},{"a":2},{"b":{"a":3},"a":4}]')


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("document", ["{}", "[{}]", '{{"a":{}}}'])
def test_what_is_no_number_is_refused(number: str, document: str) -> None:
    assert refusal(document.format(number)) == f"{number} is not a JSON number"


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")], ids=["[", "{", "[{"])
def test_deep_nesting_is_refused_whether_closed_or_not(opening: str, closing: str, depth: int) -> None:
    assert refusal(opening * depth) == "it is nested too deeply"
    assert refusal(opening * depth + "0" + closing * depth) == "it is nested too deeply"


def test_wide_is_not_deep() -> None:
    wide: list[list[int]] = [[] for _ in range(100_000)]
    assert strict_json.loads(json.dumps(wide)) == wide


@pytest.mark.parametrize(
    "document",
    [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', b'"\xe2\x82', '{"a":1}'.encode("utf-16")],
    ids=["no lead byte", "overlong", "surrogate", "beyond Unicode", "cut off", "UTF-16"],
)
def test_bytes_that_are_not_utf_8_are_refused(document: bytes) -> None:
    assert refusal(document) == "it is not UTF-8"


@pytest.mark.parametrize("digits", [4_301, 1_000_000])
def test_a_number_of_endless_digits_is_refused(digits: int) -> None:
    refusal("9" * digits)
    refusal('{"a":[-' + "9" * digits + "]}")


@pytest.mark.parametrize(
    "document",
    ["", "\ufeff{}", "{", '{"a"}', "{'a':1}", '{"a":1,}', "[1,]", "01", "+1", ".5", "1.", "0x1", "None", '"\n"', "1 2"],
)
def test_what_is_not_json_is_refused(document: str) -> None:
    refusal(document)
    refusal(document.encode())


@pytest.mark.parametrize(
    "document", ['{"password":"hunter2","password":"x"}', '{"password":"hunter2"', b'"hunter2\xff"']
)
def test_a_refusal_does_not_repeat_what_was_sent(document: str | bytes) -> None:
    assert "hunter2" not in refusal(document)


def test_the_garbage_collector_does_not_look_through_half_a_document() -> None:
    collections: list[str] = []

    def note(phase: str, _: object) -> None:
        collections.append(phase)

    gc.callbacks.append(note)
    try:
        strict_json.loads("[" + "[]," * 100_000 + "[]]")
        assert collections.count("start") <= 1  # what was due before, and afterwards: not one for every 700 lists
        assert gc.isenabled()
        with pytest.raises(ValueError, match=r"\S"):
            strict_json.loads("[" + "[]," * 100_000)
        assert gc.isenabled()
    finally:
        gc.callbacks.remove(note)
