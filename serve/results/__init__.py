"""The protocols behind `make results`: published sets, published figures beside ours, and what misses its aim.

Run `python -m serve.results --data DIR --out docs`; docs/results.md is what it writes.
"""
