/** What the scale command says of itself. */
export const USAGE = `What the control path costs as the fleet grows: real controllers, simulated agents with real sessions.

  npm run scale -- --agents N [options]                  rolling updates, and a canary
  npm run scale -- --agents N --route 100,all [options]  one service's weight changed by hand, then controllers killed

  --agents N          hosts                                                                (100)
  --gateways N        gateways                                                             (2; with --route 0)
  --over WAY          how agents are connected: grpc, or nats                              (grpc)
  --nats-servers N    stand on so many NATS servers, 0, 1 or 3, with two controllers       (0; with --over nats 3)
  --connections N     connections that the agents share
  --processes N       processes that play the agents                                       (1)
  --profile DIR       a CPU profile of the first controller, there
  --json              the figures on stdout; what is said meanwhile goes to stderr

Without --route, which needs --nats-servers 0:
  --services N        services, the hosts shared out among them                            (one for each 1,000 hosts)
  --surge N,…         maxSurge of the rolling updates, in percent                          (10,25)
  --idle N            seconds that a standing fleet is measured for                        (10)
  --no-traffic        agents count no requests
  --no-canary         no changes of a canary's weight

With --route:
  --route N,…         hosts that the service is on, a service each; all: every one
  --changes N         changes of its weight                                                (20)
  --no-storm          no controller is killed

Exit: 0 when all could be measured, 1 when not, 2 for a bad option. It judges nothing.
`;
