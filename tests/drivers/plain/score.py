def run(count, name="nobody", *, scale=1.0, options=None):
    return {"count": count, "name": name, "scale": scale, "options": options}
