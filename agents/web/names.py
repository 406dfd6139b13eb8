"""Names by which this machine alone is reached."""

import ipaddress

__all__ = ["is_loopback"]


def is_loopback(name: str) -> bool:
    """Whether a host's name, or its address with or without brackets, is this machine's own."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
