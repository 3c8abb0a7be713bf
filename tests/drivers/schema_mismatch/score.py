def run(table):
    return table
