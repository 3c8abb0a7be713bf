from mlmgmt_nb.scoring.batching import batched

sizes = []


@batched(max_requests=8, max_wait=0.2)
def run(df):
    sizes.append(len(df))
    if (df["x"] == 13).any():
        raise ValueError("unlucky")
    if (df["x"] < 0).any():
        return [len(sizes)] if len(df) == 1 else [0]
    return df["x"] * 2
