"""What commands print: tables and lines for people, csv and json for programs; how they end when they are told to."""
