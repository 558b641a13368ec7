"""Commands that put rows side by side: tests, their power, figures and the page."""
