"""The default patient: written lines, put together by rule, seeded and offline."""
