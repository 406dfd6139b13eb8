"""GRPO over whole sessions; ``run`` reads top to bottom as the whole training."""
