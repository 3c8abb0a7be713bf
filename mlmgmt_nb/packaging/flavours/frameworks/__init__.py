"""One module for each framework; imported only when its models are packaged."""
