"""Pointsman beside what people use today, in front of the same experts: ``make bench-peers``."""
