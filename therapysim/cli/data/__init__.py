"""``therapysim data``: sets of turns to learn preferences from, one file a kind."""
