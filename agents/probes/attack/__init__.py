"""Written attacks on the simulator, played as a policy."""
