"""The kinds of frames and of sequences, for programs and for what plans them."""

# Without a stop, and the longest stretch without one of a chunk that has no such frame. A pack that takes LONGEST
# frames takes WHOLE ones as well.
WHOLE, LONGEST = "whole", "longest"
KINDS = (WHOLE, LONGEST)
# Of a sequence that has a call, by all of its chunks or by some, and of one that has none: its frames are short, or it
# has no frame, or no base.
OK, PARTLY, SHORT, NO_FRAME, EMPTY = "ok", "partly", "short", "no_frame", "empty"
STATUSES = (OK, PARTLY, SHORT, NO_FRAME, EMPTY)
CALLED = (OK, PARTLY)
FILES = ("viral", "others", "unscored")  # that sequences are published in, each in one of them
STORED = "stored"  # how the names of hidden files end that keep an embedding (encoders/store.py)
