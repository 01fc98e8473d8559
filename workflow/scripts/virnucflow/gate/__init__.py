"""The comparison of the fast path with standard attention, before anything is published."""
