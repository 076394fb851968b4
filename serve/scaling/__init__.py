"""Autoscaling measured: a day, a spike, sleep and waking, growth; run by ``python -m serve.scaling``."""
