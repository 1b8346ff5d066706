"""What an embedding may be: 1 to 512 finite float32."""

# The search states its rounding margins up to so many (gallery/nearest/contraction.py).
DIMENSIONS_MAX = 512
