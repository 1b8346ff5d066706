"""Programs that publish images: MNIST, a folder, files that standard input names. Others use `topics.publisher.ImagePublisher`."""
