"""The programs of PyTorch, a file a task; nothing of jaxcollapse is in them."""
