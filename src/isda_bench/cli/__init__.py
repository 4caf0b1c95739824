"""The command `isda-bench`: a module for each sub-command, and the check of a training's command line."""
