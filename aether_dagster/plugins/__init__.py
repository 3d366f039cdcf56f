"""Plugins (spec 5): which are installed, and what they bring.

May read package metadata and import plugins; knows neither Dagster nor the manager.
"""
