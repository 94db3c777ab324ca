"""The page that ``msam serve`` shows in a browser, and the routes it asks."""
