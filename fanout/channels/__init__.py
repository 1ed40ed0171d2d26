"""The senders: one module each, from a rendered delivery to an outcome."""
