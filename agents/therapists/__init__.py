"""Who speaks as the therapist: baselines, chat models, acts in place of text, and how each is found by name."""
