"""Who may do what: keys, the file that they are kept in, and the guard in front of all routes."""
