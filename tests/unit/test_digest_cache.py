"""What is remembered by a secret text: found by exactly that text, and never more than there is room for."""

import pytest

from app.auth.digest_cache import ENTRY_BYTES, DigestCache

ROOM = 10 * ENTRY_BYTES


def test_it_is_found_by_its_text_and_by_no_other() -> None:
    cache: DigestCache[int] = DigestCache(most=10, most_bytes=ROOM)
    texts = ["a", "A", "a ", "", "ä", "a\u0308", "\ud800", "\udfff"]
    for number, text in enumerate(texts):
        cache.keep(text, number, size_bytes=0)
    assert [cache.find(text) for text in texts] == list(range(len(texts)))
    assert cache.find("b") is None


@pytest.mark.parametrize(("most", "most_bytes"), [(3, 1000 * ROOM), (1000, 3 * (ENTRY_BYTES + 100))])
def test_who_was_not_asked_for_longest_goes_first(most: int, most_bytes: int) -> None:
    cache: DigestCache[str] = DigestCache(most=most, most_bytes=most_bytes)
    for text in "abc":
        cache.keep(text, text, size_bytes=100)
    cache.find("a")
    cache.keep("d", "d", size_bytes=100)
    assert [cache.find(text) for text in "abcd"] == ["a", None, "c", "d"]
    assert len(cache) == 3
    assert cache.size_bytes == 3 * (ENTRY_BYTES + 100)


def test_a_heavy_one_takes_the_place_of_several() -> None:
    cache: DigestCache[str] = DigestCache(most=100, most_bytes=ROOM)
    for text in "abcdefghij":
        cache.keep(text, text, size_bytes=0)
    cache.keep("heavy", "heavy", size_bytes=4 * ENTRY_BYTES)
    assert [text for text in "abcdefghij" if cache.find(text)] == list("fghij")
    assert cache.size_bytes <= ROOM


def test_what_is_kept_again_counts_once() -> None:
    cache: DigestCache[int] = DigestCache(most=10, most_bytes=ROOM)
    for number in range(100):
        cache.keep("a", number, size_bytes=number)
    assert cache.find("a") == 99
    assert (len(cache), cache.size_bytes) == (1, 99 + ENTRY_BYTES)


def test_what_finds_no_room_at_all_is_not_kept() -> None:
    cache: DigestCache[int] = DigestCache(most=10, most_bytes=ROOM)
    cache.keep("a", 1, size_bytes=ROOM)
    assert (len(cache), cache.size_bytes, cache.find("a")) == (0, 0, None)
