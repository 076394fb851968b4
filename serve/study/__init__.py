"""The Expert Router study behind `make study`: one model for everybody, routes and cascades, at equal resources.

Run `python -m serve.study`; docs/load.md is the page whose tables it writes.
"""
