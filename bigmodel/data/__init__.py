"""Reading rows and turning them into arrays."""
