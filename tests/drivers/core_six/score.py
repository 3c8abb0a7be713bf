from sklearn.externals import six
from sklearn.externals.six import StringIO

def run(raw_data):
    return six.PY3 and StringIO('x').read()
