"""Numbers below a hundred in words, as a patient says its age."""

__all__ = ["in_words", "number_of"]

_SMALL = tuple(
    "nought one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen".split()
)
_TENS = tuple("twenty thirty forty fifty sixty seventy eighty ninety".split())


def in_words(number: int) -> str:
    """A whole number from 0 to 99, such as "forty-five"."""
    if number < len(_SMALL):
        return _SMALL[number]
    tens, units = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_SMALL[units]}" if units else "")


def number_of(word: str) -> int | None:
    """The number that a word or its digits say; None where it says none."""
    return int(word) if word.isdecimal() else _VALUES.get(word)


_VALUES = {in_words(number): number for number in range(100)}
