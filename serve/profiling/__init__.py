"""What a request costs each process of a server, and what the Router spends it on: ``make profile``."""
