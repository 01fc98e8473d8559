"""How problems of the settings and of the sample sheet are told: a line each, bounded, all of them at once."""

import difflib
import reprlib
import unicodedata
from collections.abc import Iterable

from virnucflow.cli import one_line

MOST_PROBLEMS = 10
LONGEST_PATH = 300
_SHORT = reprlib.Repr()
_SHORT.maxstring, _SHORT.maxother, _SHORT.maxlevel = 80, 80, 2


class PlanningError(Exception):
    """Settings or a sample sheet that no run can be planned from. The message has a line for each problem, and a count
    in place of those that are too many to be read."""

    def __init__(self, *problems: str) -> None:
        more = len(problems) - MOST_PROBLEMS
        super().__init__("\n".join([*problems[:MOST_PROBLEMS], *[f"and {more} more problems"] * (more > 0)]))


def shown(value: object) -> str:
    """A value as messages quote it: on one line, of bounded length, without control characters."""
    try:
        return _SHORT.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def named(path: object) -> str:
    """A path as messages begin with it: as it is, unless it is very long or has what does not print."""
    return one_line(str(path), LONGEST_PATH)


def control_character(text: str) -> str:
    """The code of the first one in a text, such as U+0000, or nothing; separators of lines are among them."""
    controls = (letter for letter in text if unicodedata.category(letter) in ("Cc", "Zl", "Zp"))
    return next((f"U+{ord(letter):04X}" for letter in controls), "")


def nearest(name: str, known: Iterable[str]) -> str:
    """What to do about a name that is not known."""
    known = list(known)
    if close := difflib.get_close_matches(name[:100].lower(), known, n=1):
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}"
