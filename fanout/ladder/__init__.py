"""Following a notification until its person has it: steps, their conditions, and their timers."""
