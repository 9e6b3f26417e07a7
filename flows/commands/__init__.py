"""The subcommands of ``segflow``; each imports what it needs when it runs."""
