"""Services on declarative computes (clusters): this package declares and observes them; the cluster runs the pods.

A round compares the declaration of each service with the state of its compute. If they differ, the service is declared
again. This handles a change, a rollback, a manual edit and a new process in the same way; declaring the same state
again changes nothing.

- A rollout declares the target. It succeeds when only its replicas are left and all are ready. It fails immediately for
  a permanent cause, and for any cause after the start timeout; the next round declares the previous deployment again.
- The number of replicas of an autoscaled service follows the load of its pods, unless the compute itself scales it.
- Services without a deployment, deleted services, and services that are not in the store are removed from the compute.
- While a compute does not respond, its services stay as they are, except that rollouts may time out. The `error` of the
  services shows the problem and since when it exists.

reconciler    the pure step: desired and observed state -> actions
desired       the desired state of a service
actions       the actions of a step
conditions    the current problem of a service
autoscaling   the number of replicas of autoscaled services
declarations  rows of the store -> declarations
controller    one round: observe the computes, call the step, act
"""
