"""From features to scores, and from scores to calls."""
