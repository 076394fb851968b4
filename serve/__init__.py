"""The application: what ``serve run`` imports, its configuration, and the ``pointsman`` command."""
