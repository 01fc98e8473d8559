"""A classifier of one's own: labels, clusters of like sequences, fitting, and the card of the result."""
