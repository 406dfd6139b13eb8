"""A language model in the patient's chair: its prompt, the guard over its lines, the shipped adapter."""
