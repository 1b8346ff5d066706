"""The report's convolutional autoencoder in Keras: 28 x 28 pixels to 128 numbers and back."""

import keras
from keras import layers


def build_autoencoder() -> tuple[keras.Model, keras.Model]:
    """The autoencoder and its encoder, which share layers.

    Returns:
        autoencoder: (n, 28, 28, 1) float32 in [0, 1] to the same; encoder: the same input to (n, 128) float32.
        1,904 weights encode and 2,481 decode.
    """
    pixels = keras.Input((28, 28, 1), name="pixels")
    x = pixels
    for filters in (16, 8, 8):
        x = layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    embedding = layers.Flatten(name="embedding")(x)
    x = layers.Reshape((4, 4, 8))(embedding)
    for filters, padding in ((8, "same"), (8, "same"), (16, "valid")):
        x = layers.Conv2D(filters, 3, activation="relu", padding=padding)(x)
        x = layers.UpSampling2D(2)(x)
    reconstruction = layers.Conv2D(1, 3, activation="sigmoid", padding="same", name="reconstruction")(x)
    return keras.Model(pixels, reconstruction, name="autoencoder"), keras.Model(pixels, embedding, name="encoder")
