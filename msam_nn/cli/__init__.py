"""The ``msam`` command, a module for each sub-command."""
