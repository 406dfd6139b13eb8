"""How a policy learns, and the recipes of the shipped weights."""
