"""Load from outside: everything here speaks the public protocol only and imports none of the project's packages."""
