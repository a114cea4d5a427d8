"""The black-box tests; ``tenohira hil --rig NAME`` runs them."""
