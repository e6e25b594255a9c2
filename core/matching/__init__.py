"""The stages of the matcher. `reassoc.core.match` is their one entry point."""
