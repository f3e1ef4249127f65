"""Import of studies that another tool ran into the record. It reads data and runs no code: nothing is unpickled."""
