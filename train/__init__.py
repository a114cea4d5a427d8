"""Training: images and masks in, weights and tables out (workstation)."""
