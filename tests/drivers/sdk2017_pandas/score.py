def init():
    global prefix
    prefix = 'n='

def run(input_df):
    return prefix + str(int(input_df['n'].sum()))
