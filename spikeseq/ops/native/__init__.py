"""The native backend (C, CPU, float32): placeholder until the kernels land minutes from now."""


def missing():
    return "not built yet"


def refuses(request):
    return "not built yet"
