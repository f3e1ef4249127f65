"""Values as text: tables of data frames, TOML, and names and numbers for people."""
