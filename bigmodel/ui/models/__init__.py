"""The Models page's sections, and the starters of the Home page."""
