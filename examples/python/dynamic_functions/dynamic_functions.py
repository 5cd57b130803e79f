"""Functions made at run time, and callbacks that know whose result they hold.

python3 dynamic_functions.py
"""

import multiprocessing

import brine


def square(x):
    """Return x squared."""
    return x**2


def cube(x):
    """Return x cubed."""
    return x**3


def mapper(function, offset):
    """Make a function of the kind that can't be pickled by name: it closes over another, and over an argument."""

    def mapped(x):
        if x == 9 and offset == 7:
            raise ValueError("nine and seven don't mix")
        return function(x) + offset

    mapped.__name__ = f"{function.__name__} + {offset}"
    return mapped


def submit(pool, functions):
    """Map each function, with callbacks that are closures over it, and return what they were told."""
    told = {}
    for f in functions:

        def done(results, f=f):
            told[f.__name__] = str(results)

        def failed(error, f=f):
            told[f.__name__] = f"{type(error).__name__}: {error}"

        pool.map_async(f, range(10), callback=done, error_callback=failed)
    pool.close()
    pool.join()
    return told


def main():
    """Map functions that exist only here, with both pools."""
    functions = [mapper(square, 0), mapper(cube, 5), mapper(square, 7)]
    functions.append(lambda x: x % 3)
    for method in "fork", "spawn":
        for module in multiprocessing, brine:
            context = multiprocessing.get_context(method)
            pool = context.Pool(2) if module is multiprocessing else brine.Pool(2, context=context)
            print(f"{module.__name__}, {method}:")
            for name, text in submit(pool, functions).items():
                print(f"  {name:<11} {text}")


if __name__ == "__main__":
    main()
