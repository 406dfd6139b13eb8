"""Cheap optimisation against the reward: what earns more than a good scripted therapist?"""
