"""A therapist that copies others first: supervised fine-tuning on sessions, before reinforcement learning."""
