"""Drafts of specs that fit the data of who is new here, for `sweeps new`: one file a study."""
