def run(df):
    return df
