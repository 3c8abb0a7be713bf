"""Computes that keep what they are told.

protocol  what the supervisor's controller asks of them
relay     forwards connections from the ports of services here to their replicas there
"""
