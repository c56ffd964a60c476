"""Whole command-line sessions: text files that say what is typed and what has to come back."""
