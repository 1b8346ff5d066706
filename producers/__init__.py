"""Sources of images and the topic that they go to: `python -m producers`, or `ImagePublisher` in a program."""
