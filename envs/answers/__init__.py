"""What the patient answers: which items of its case file, and the session once they are told."""
