"""Sessions for other programs, over OpenEnv's wire."""
