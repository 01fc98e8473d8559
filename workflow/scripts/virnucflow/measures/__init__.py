"""How good scores are, and how sure that is: intervals, discrimination, reliability and their figures."""
