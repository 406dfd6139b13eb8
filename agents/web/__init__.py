"""A page on which a person is the therapist: the desk behind it, its server, and what is kept of people's judgement."""
