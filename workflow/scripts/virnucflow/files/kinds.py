"""The kinds of frames, for programs and for what plans them."""

# Without a stop, and the longest stretch without one of a chunk that has no such frame. A pack that takes LONGEST
# frames takes WHOLE ones as well.
WHOLE, LONGEST = "whole", "longest"
KINDS = (WHOLE, LONGEST)
FILES = ("viral", "others", "unscored")  # that sequences are published in, each in one of them
STORED = "stored"  # how the names of hidden files end that keep an embedding (encoders/store.py)
