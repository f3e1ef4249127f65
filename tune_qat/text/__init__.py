"""Values as text: tables of data frames, and TOML."""
