"""What is known of a person, and what they chose: read by the gateway, the fan-out worker and the senders alike."""
