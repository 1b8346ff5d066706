"""Networks from outside: what is done to a picture before them and to their answer after, how they are run, and how one becomes an encoder."""
