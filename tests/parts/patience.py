"""How long a test waits for another process: only one that hangs takes so long, however busy the machine."""

HANGS_S = 1_800
