"""The ``therapysim`` command: one file a command, each a thin caller of a room."""
