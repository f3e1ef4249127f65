"""Report: a page, the files of its figures and tables, and a server that follows a running study."""
