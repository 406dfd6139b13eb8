"""Whoever speaks: one small chat protocol, and its forms by Hugging Face, vLLM, a server, or a recording."""
