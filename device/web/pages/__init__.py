"""One module a subject; each function answers one address (``device.web.app`` lists them)."""
