"""Verdicts on photographs: local features find where one stands in the other, the aligned pixels say whether it does and what was done."""
