"""Pictures of any task: drawn for the embedded data sets, and read from files of all kinds."""
