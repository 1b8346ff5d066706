"""How good verdicts on photographs are: on copies altered by known amounts, and on pictures that only look alike."""
