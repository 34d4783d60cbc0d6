"""stub"""


def print_table(found):
    pass


def write_performance(found, folder):
    pass
