"""Preference data: pairs and ranked groups of turns for one state, each judged by what becomes of the patient."""
