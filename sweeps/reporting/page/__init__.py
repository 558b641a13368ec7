"""The page of the report: one self-contained HTML file."""
