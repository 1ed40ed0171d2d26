"""The delivery worker: leases the jobs of a channel, guards its providers, and settles what its senders say."""
