"""The routing methods, a file each."""
