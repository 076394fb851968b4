"""Evaluations and load tests in pictures: one page that needs nothing else, and every plot as PNG.

Needs the extra `reports` (matplotlib, jinja2), which is imported only when something is drawn.
"""

from serve.reporting.load_page import write_load_report
from serve.reporting.page import write_report
from serve.reporting.scene import Scene

__all__ = ["Scene", "write_load_report", "write_report"]
