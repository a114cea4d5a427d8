"""Hardware in the loop: the same black-box tests on every rung, from a laptop to a real Pi."""
