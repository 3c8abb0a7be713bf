"""Services on computes that keep what they are told: we declare, observe and explain; pods are the cluster's.

A round compares the declaration of each service with what its compute has. Differences are declared again: so a change,
a rollback, an edit by hand and a new process all take the same way, and declaring the same again changes nothing.

- A rollout declares the target. It succeeds when only its replicas are left and all are ready. A certain cause ends it
  at once, any cause after the time for starting; the next round declares what served before again.
- The number of replicas of an autoscaled service follows the load of its pods, unless the compute itself scales it.
- A service without a deployment to serve, a deleted one, and one that nobody knows are removed from the compute.
- While a compute does not respond, nothing is decided about it; services say so, and since when.

reconciler    the pure step: desired and observed state -> actions
desired       the desired state of a service
actions       the actions of a step
conditions    the current problem of a service
autoscaling   the number of replicas of autoscaled services
declarations  rows of the store -> declarations
controller    one round: observe the computes, call the step, act
"""
