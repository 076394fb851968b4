"""The subcommands of ``pointsman``."""
