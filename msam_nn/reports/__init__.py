"""Charts, overlays, Markdown and HTML pages."""
