from jobs.sales import transform

__all__ = ["transform"]
