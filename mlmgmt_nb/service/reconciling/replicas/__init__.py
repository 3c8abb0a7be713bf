"""Services on computes that only run what we start: the reconciler decides on each replica.

reconciler   the pure step: desired and observed state -> actions
desired      the desired state of a service, and its crashes
actions      the actions of a step
controller   one round: observe the computes, call the step, act
crashes      consecutive crashes of deployments
autoscaling  the decisions, applied to services
launches     the parameters of a replica
progress     lines about rollouts in the log of a service
"""
