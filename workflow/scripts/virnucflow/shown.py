"""What a message may say of a value that somebody else's file holds."""

from typing import Any

MOST_LETTERS = 120
MOST_BITS = 128


def shown(value: Any, most: int = MOST_LETTERS) -> str:  # noqa: ANN401 - whatever a file holds
    """Text and numbers, shortened and printable; of anything else its type alone.

    Nothing unknown is formatted: a tuple that holds itself twice, 50 times over, takes 200 bytes and has 2**50 items.
    """
    if isinstance(value, str):
        letters = value if len(value) <= most else value[:most] + "…"
        return "".join(letter if letter.isprintable() else "?" for letter in letters)
    if value is None or type(value) in (bool, float) or (type(value) is int and value.bit_length() <= MOST_BITS):
        return str(value)
    return f"a {type(value).__name__}"
