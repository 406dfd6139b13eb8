"""Where a server listens, what it is called there, and which names are this machine's own."""

import ipaddress
import socket

from therapysim.errors import ConfigError

__all__ = ["address_of", "is_loopback", "listening"]


def is_loopback(name: str) -> bool:
    """Whether a host's name, or its address with or without brackets, is this machine's own."""
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigError: the port is taken, or is none, or the host is no address of this machine.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"--port is {port}, expected 0 to 65535")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"cannot listen on {host}, port {port}: {why}; name another --port or --host") from error


def address_of(place: socket.socket) -> str:
    """What a browser is to open: of a socket that listens everywhere, this machine's name."""
    host, port = place.getsockname()[:2]
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
