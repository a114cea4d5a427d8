"""What is handed on of an examination: the one-page PDF."""
