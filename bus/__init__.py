"""What the gateway and the fan-out worker must agree on byte for byte, and the one loop that works a queue.

Admission rule: a module belongs here only if both sides would break when it changed on one of them. No JWT, no
templates, no settings of a role.
"""
