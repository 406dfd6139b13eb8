"""How the reader of turns is trained: own turns, people's replies, network, thresholds, card."""
