"""Patients from other simulators' files: each field is carried over, noted or left out, and nothing is made up."""
