"""What labgrid does not have: drivers for the instrument's service on each kind of target."""
