"""Commands that show what is there: of a sweep, of a study, of what is bundled."""
