"""A DataFrame with a column of every usual type, told back."""


def run(df, only=None):
    if only:
        df = df[[only]]
    return {"types": {name: str(dtype) for name, dtype in df.dtypes.items()}, "rows": df}
