"""One file a training of ``therapysim train``, each a thin caller of the room ``train``."""
