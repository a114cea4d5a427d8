"""One small module per verb of the command line; each is imported only when called."""
