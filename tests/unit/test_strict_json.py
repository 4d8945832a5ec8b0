"""JSON as RFC 7493 narrows it: each document has one meaning, and none costs more than its length."""

import json
from typing import Any

import pytest

from app.common import strict_json


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
    ("document", "reason"),
    [
        *(
            (document, "an object has a member twice")
            for document in ('{"a":1,"b":2,"a":1}', '{"outer":{"a":1,"a":2}}', '[{"a":1,"a":2}]', '{"":1,"":2}')
        ),
        *((f'[{{"a":{number}}}]', f"{number} is not a JSON number") for number in ("NaN", "Infinity", "-Infinity")),
        *((document, "it is not UTF-8") for document in (b'"\xf5\x80\x80\x80"', b'"\xe2\x82', b'"\xff"')),
        *((opening * 1_000_000, "it is nested too deeply") for opening in ("[", '{"a":', '[{"a":')),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_refusal_gives_its_reason_at_any_depth(document: str | bytes, reason: str) -> None:
    """`tests/api/test_hostile_input.py` sends more of these over HTTP."""
    assert refusal(document) == reason


def test_one_name_in_two_objects_is_no_duplicate() -> None:
    assert strict_json.loads('[{"a":1},{"a":2},{"b":{"a":3},"a":4}]')


def test_wide_is_not_deep() -> None:
    wide: list[list[int]] = [[] for _ in range(100_000)]
    assert strict_json.loads(json.dumps(wide)) == wide


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
