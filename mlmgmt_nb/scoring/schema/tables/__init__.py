"""Types of tables: pandas and Spark data frames, their columns, and the orientations of their JSON."""
