"""How many examples a property test tries, in proportion to the Hypothesis profile (`fast` or `all`)."""

from hypothesis import settings


def examples(share: float) -> int:
    """`share` of the profile's number of examples, at least 2."""
    profile = settings.default
    assert profile is not None
    return max(2, round(profile.max_examples * share))
