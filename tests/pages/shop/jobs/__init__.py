from jobs.sales import extract

__all__ = ["extract"]
