"""What a service is made of: the driver with its files and packages, and the flow from them to a deployment."""
