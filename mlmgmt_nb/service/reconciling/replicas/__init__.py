"""Services on computes whose replicas this service starts one by one (`local` and `docker`).

reconciler   the pure step: desired and observed state -> actions
desired      the desired state of a service, and its crashes
actions      the actions of a step
controller   one round: observe the computes, call the step, act
crashes      consecutive crashes of deployments
autoscaling  the decisions, applied to services
launches     the parameters of a replica
progress     lines about rollouts in the log of a service
"""
