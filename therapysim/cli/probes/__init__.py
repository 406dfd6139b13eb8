"""Commands that measure patients, reading and reward, one file a command."""
