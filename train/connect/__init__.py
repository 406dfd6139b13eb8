"""The environment in other frameworks, one thin adapter each; every session is ``SessionBatch``'s own."""
