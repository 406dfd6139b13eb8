"""Sessions played, kept as files, drawn and shown."""
