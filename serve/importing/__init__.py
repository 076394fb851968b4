"""Routing data from public sets and from users' own files."""

from serve.importing.sources import SOURCES, Choice, Imported, import_data

__all__ = ["SOURCES", "Choice", "Imported", "import_data"]
