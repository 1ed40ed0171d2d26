"""The figures: one gateway process on one core, everything else on another, nchan beside it where installed."""
