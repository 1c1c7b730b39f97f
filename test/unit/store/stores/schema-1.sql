CREATE TABLE meta (
      only INTEGER PRIMARY KEY CHECK (only = 1),
      epoch INTEGER NOT NULL
    ) STRICT;
CREATE TABLE services (
      name TEXT PRIMARY KEY,
      stable INTEGER NOT NULL,
      previous INTEGER NOT NULL,
      newest INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
CREATE TABLE revisions (
      service TEXT NOT NULL REFERENCES services (name) ON DELETE CASCADE,
      revision INTEGER NOT NULL,
      version TEXT NOT NULL,
      spec TEXT NOT NULL CHECK (json_valid(spec)),
      spec_hash TEXT NOT NULL,
      created_at_ms INTEGER NOT NULL,
      PRIMARY KEY (service, revision)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE retirements (
      service TEXT PRIMARY KEY,
      stage TEXT NOT NULL CHECK (stage IN ('gateways', 'hosts', 'done')),
      since_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
CREATE TABLE hosts (
      name TEXT PRIMARY KEY,
      body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT, WITHOUT ROWID;
CREATE TABLE rollouts (
      id TEXT PRIMARY KEY,
      service TEXT NOT NULL REFERENCES services (name) ON DELETE CASCADE,
      change INTEGER NOT NULL,
      started_at_ms INTEGER NOT NULL,
      ended_at_ms INTEGER NOT NULL,
      body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT;
CREATE INDEX rollouts_by_service ON rollouts (service, started_at_ms);
CREATE TABLE journal (
      rollout TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
      change INTEGER NOT NULL,
      at_ms INTEGER NOT NULL,
      epoch INTEGER NOT NULL,
      actor TEXT NOT NULL,
      stage TEXT NOT NULL,
      reason TEXT NOT NULL,
      message TEXT NOT NULL,
      PRIMARY KEY (rollout, change)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE ledgers (
      rollout TEXT PRIMARY KEY REFERENCES rollouts (id) ON DELETE CASCADE,
      body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT, WITHOUT ROWID;
CREATE TABLE counts (
      host TEXT PRIMARY KEY,
      body TEXT NOT NULL CHECK (json_valid(body))
    ) STRICT, WITHOUT ROWID;
CREATE TABLE events (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      at_ms INTEGER NOT NULL,
      kind TEXT NOT NULL,
      service TEXT NOT NULL,
      rollout TEXT NOT NULL,
      host TEXT NOT NULL,
      actor TEXT NOT NULL,
      message TEXT NOT NULL
    ) STRICT;
INSERT INTO meta VALUES (1, 1);
INSERT INTO services VALUES ('cart', 0, 0, 1);
INSERT INTO services VALUES ('shop', 1, 0, 2);
INSERT INTO revisions VALUES ('cart', 1, '7', '{"name":"cart","version":"7","labels":{"team":"web"},"listen":[{"address":"127.0.0.1","port":8081,"protocol":"http"}],"hostnames":["cart.example"],"rules":[{"path":{"type":"PathPrefix","value":"/pay"},"timeouts":{"requestMs":3000},"retry":{"attempts":1,"methods":["POST"]}},{"path":{"type":"PathPrefix","value":"/"},"timeouts":{"requestMs":null},"retry":{"attempts":2,"methods":[]}}],"placement":{"hosts":[],"labels":{"zone":"a"}},"run":{"kind":"external","instances":[{"version":"7","host":null,"address":"127.0.0.1","port":9001}]},"health":null,"drain":{"timeoutMs":30000,"sseMs":5000,"websocketMs":10000,"killMs":10000,"onTimeout":"cut"},"strategy":{"kind":"rolling","maxSurge":{"kind":"count","value":1},"maxUnavailable":{"kind":"count","value":0},"minHealthyMs":10000,"healthyDeadlineMs":300000,"progressDeadlineMs":600000,"autoRevert":true,"maxErrorRate":0.05,"minRequests":50,"onPartition":"pause"}}', '2324a2ae29e676a8cf2d409674faca9bdf471260728b9ab1fad0d6ee70032523', 1795311718924);
INSERT INTO revisions VALUES ('shop', 1, 'v1', '{"name":"shop","version":"v1","labels":{},"listen":[{"address":"127.0.0.1","port":8080,"protocol":"http"}],"hostnames":[],"rules":[{"path":{"type":"PathPrefix","value":"/"},"timeouts":{"requestMs":null},"retry":{"attempts":2,"methods":[]}}],"placement":{"hosts":[],"labels":{}},"run":{"kind":"process","command":["node","server.js"],"cwd":"/srv","env":{},"count":1},"health":{"readiness":{"kind":"http","path":"/healthz","intervalMs":100,"timeoutMs":100,"healthyThreshold":1,"unhealthyThreshold":2},"liveness":null},"drain":{"timeoutMs":500,"sseMs":500,"websocketMs":500,"killMs":500,"onTimeout":"cut"},"strategy":{"kind":"rolling","maxSurge":{"kind":"count","value":1},"maxUnavailable":{"kind":"count","value":0},"minHealthyMs":50,"healthyDeadlineMs":2000,"progressDeadlineMs":10000,"autoRevert":true,"maxErrorRate":0.05,"minRequests":50,"onPartition":"pause"}}', '80a67f37bdf364285283667c6542e0bbe6dbab294d2c020a9d6c396bf436e260', 1795311718589);
INSERT INTO revisions VALUES ('shop', 2, 'v2', '{"name":"shop","version":"v2","labels":{},"listen":[{"address":"127.0.0.1","port":8080,"protocol":"http"}],"hostnames":[],"rules":[{"path":{"type":"PathPrefix","value":"/"},"timeouts":{"requestMs":null},"retry":{"attempts":2,"methods":[]}}],"placement":{"hosts":[],"labels":{}},"run":{"kind":"process","command":["node","server.js"],"cwd":"/srv","env":{},"count":1},"health":{"readiness":{"kind":"http","path":"/healthz","intervalMs":100,"timeoutMs":100,"healthyThreshold":1,"unhealthyThreshold":2},"liveness":null},"drain":{"timeoutMs":500,"sseMs":500,"websocketMs":500,"killMs":500,"onTimeout":"cut"},"strategy":{"kind":"rolling","maxSurge":{"kind":"count","value":1},"maxUnavailable":{"kind":"count","value":0},"minHealthyMs":50,"healthyDeadlineMs":1000,"progressDeadlineMs":10000,"autoRevert":false,"maxErrorRate":0.05,"minRequests":50,"onPartition":"pause"}}', 'f917842620fad75dc4bafe54aa1b3aeb40995441b6f0492125fb60676c50e6e7', 1795311718940);
INSERT INTO hosts VALUES ('gateway-1', '{"name":"gateway-1","role":"gateway","labels":{},"address":"127.0.0.1","software":"fake","adminState":"ready","inboundPorts":"assigned","ports":{"cart/0":8081,"shop/0":8080}}');
INSERT INTO hosts VALUES ('host-1', '{"name":"host-1","role":"host","labels":{"zone":"a"},"address":"127.0.0.1","software":"fake","adminState":"ready","inboundPorts":"assigned","ports":{"cart/0":20002,"shop/0":20001}}');
INSERT INTO rollouts VALUES ('shop-r1-28a63e', 'shop', 18, 1795311718600, 1795311718907, '{"id":"shop-r1-28a63e","service":"shop","from":0,"to":1,"strategy":{"kind":"rolling","maxSurge":{"kind":"count","value":1},"maxUnavailable":{"kind":"count","value":0},"minHealthyMs":50,"healthyDeadlineMs":2000,"progressDeadlineMs":10000,"autoRevert":true,"maxErrorRate":0.05,"minRequests":50,"onPartition":"pause"},"stage":{"kind":"succeeded"},"pause":null,"hosts":[{"host":"host-1","way":"surge","stage":"done","towards":1,"goal":1,"home":0,"revisions":[{"revision":1,"mode":"serving"}],"routed":true,"sinceMs":1795311718839,"drainSinceMs":0,"servesSinceMs":1795311718773,"healthyAtMs":1795311718684,"healthyMark":1795311718671,"unhealthyAtMs":0,"exitsAllowed":0,"cutAllowed":false,"waitingFor":""}],"startedAtMs":1795311718600,"endedAtMs":1795311718907,"progressAtMs":1795311718839,"change":18,"epoch":1,"acknowledgedLoss":0,"without":[],"skipBakes":false,"judgedFrom":{},"actor":"operator"}');
INSERT INTO rollouts VALUES ('cart-r1-b11347', 'cart', 8, 1795311718930, 0, '{"id":"cart-r1-b11347","service":"cart","from":0,"to":1,"strategy":{"kind":"rolling","maxSurge":{"kind":"count","value":1},"maxUnavailable":{"kind":"count","value":0},"minHealthyMs":10000,"healthyDeadlineMs":300000,"progressDeadlineMs":600000,"autoRevert":true,"maxErrorRate":0.05,"minRequests":50,"onPartition":"pause"},"stage":{"kind":"step","step":1,"of":"converging"},"pause":null,"hosts":[{"host":"host-1","way":"surge","stage":"starting","towards":1,"goal":1,"home":0,"revisions":[{"revision":1,"mode":"standby"}],"routed":true,"sinceMs":1795311718960,"drainSinceMs":0,"servesSinceMs":0,"healthyAtMs":1795311719010,"healthyMark":1795311718994,"unhealthyAtMs":0,"exitsAllowed":1,"cutAllowed":false,"waitingFor":"for 7 to stay ready"}],"startedAtMs":1795311718930,"endedAtMs":0,"progressAtMs":1795311718960,"change":8,"epoch":1,"acknowledgedLoss":0,"without":[],"skipBakes":false,"judgedFrom":{},"actor":"operator"}');
INSERT INTO rollouts VALUES ('shop-r2-2ce035', 'shop', 10, 1795311718943, 0, '{"id":"shop-r2-2ce035","service":"shop","from":1,"to":2,"strategy":{"kind":"rolling","maxSurge":{"kind":"count","value":1},"maxUnavailable":{"kind":"count","value":0},"minHealthyMs":50,"healthyDeadlineMs":1000,"progressDeadlineMs":10000,"autoRevert":false,"maxErrorRate":0.05,"minRequests":50,"onPartition":"pause"},"stage":{"kind":"step","step":1,"of":"converging"},"pause":{"reason":"Manual","message":"kept for later","sinceMs":1795311720000},"hosts":[{"host":"host-1","way":"surge","stage":"starting","towards":2,"goal":2,"home":1,"revisions":[{"revision":1,"mode":"serving"},{"revision":2,"mode":"standby"}],"routed":true,"sinceMs":1795311719997,"drainSinceMs":0,"servesSinceMs":0,"healthyAtMs":0,"healthyMark":0,"unhealthyAtMs":0,"exitsAllowed":1,"cutAllowed":false,"waitingFor":"for v2 to be ready"}],"startedAtMs":1795311718943,"endedAtMs":0,"progressAtMs":1795311719997,"change":10,"epoch":1,"acknowledgedLoss":0,"without":[],"skipBakes":false,"judgedFrom":{"v1":{"requests":40,"errors":1,"lost":0}},"actor":"operator"}');
INSERT INTO journal VALUES ('cart-r1-b11347', 1, 1795311718930, 1, 'operator', 'Pending', 'Begun', 'cart from nothing to 7 on 1 hosts');
INSERT INTO journal VALUES ('cart-r1-b11347', 5, 1795311718960, 1, 'engine', 'Step', 'HostStarting', 'host-1: starts 7');
INSERT INTO journal VALUES ('shop-r1-28a63e', 1, 1795311718600, 1, 'operator', 'Pending', 'Begun', 'shop from nothing to v1 on 1 hosts');
INSERT INTO journal VALUES ('shop-r1-28a63e', 5, 1795311718636, 1, 'engine', 'Step', 'HostStarting', 'host-1: starts v1');
INSERT INTO journal VALUES ('shop-r1-28a63e', 9, 1795311718747, 1, 'engine', 'Step', 'HostShifting', 'host-1: v1 is ready and takes new requests');
INSERT INTO journal VALUES ('shop-r1-28a63e', 11, 1795311718773, 1, 'engine', 'Step', 'HostDraining', 'host-1: serves v1');
INSERT INTO journal VALUES ('shop-r1-28a63e', 13, 1795311718838, 1, 'engine', 'Step', 'HostStopping', 'host-1: nothing is drained and stops');
INSERT INTO journal VALUES ('shop-r1-28a63e', 14, 1795311718839, 1, 'engine', 'Step', 'HostDone', 'host-1: serves v1 alone');
INSERT INTO journal VALUES ('shop-r1-28a63e', 15, 1795311718904, 1, 'engine', 'Promoting', 'Promoted', 'v1 is stable now');
INSERT INTO journal VALUES ('shop-r1-28a63e', 18, 1795311718907, 1, 'engine', 'Succeeded', 'Succeeded', '1 of 1 hosts serve v1');
INSERT INTO journal VALUES ('shop-r2-2ce035', 1, 1795311718943, 1, 'operator', 'Pending', 'Begun', 'shop from v1 to v2 on 1 hosts');
INSERT INTO journal VALUES ('shop-r2-2ce035', 5, 1795311718986, 1, 'engine', 'Step', 'HostStarting', 'host-1: starts v2 beside what serves');
INSERT INTO journal VALUES ('shop-r2-2ce035', 8, 1795311719990, 1, 'engine', 'Step', 'Unhealthy', 'v2 on host-1 was not ready within 1s (readiness: 503)');
INSERT INTO journal VALUES ('shop-r2-2ce035', 9, 1795311719997, 1, 'ann', 'Step', 'Resumed', 'ann goes on after Unhealthy: v2 on host-1 was not ready within 1s (readiness: 503)');
INSERT INTO journal VALUES ('shop-r2-2ce035', 10, 1795311720000, 1, 'ann', 'Step', 'Manual', 'kept for later');
INSERT INTO ledgers VALUES ('cart-r1-b11347', '{"rollout":"cart-r1-b11347","service":"cart","baseline":{},"end":null,"unexplained":0,"pending":[],"evidence":[{"host":"host-1","instance":{"service":"cart","revision":1,"version":"7","id":"cart-r1-0-host-1","state":"starting","sinceMs":1795311718964,"healthySinceMs":0,"pid":1,"address":"127.0.0.1","port":1,"restarts":0,"exit":null,"reason":"readiness: 503","output":[],"inFlight":0,"started":0}}],"notes":[]}');
INSERT INTO ledgers VALUES ('shop-r1-28a63e', '{"rollout":"shop-r1-28a63e","service":"shop","baseline":{},"end":{},"unexplained":0,"pending":[],"evidence":[{"host":"host-1","instance":{"service":"shop","revision":1,"version":"v1","id":"shop-r1-0-host-1","state":"starting","sinceMs":1795311718641,"healthySinceMs":0,"pid":1,"address":"127.0.0.1","port":1,"restarts":0,"exit":null,"reason":"readiness: 503","output":[],"inFlight":0,"started":0}}],"notes":[]}');
INSERT INTO ledgers VALUES ('shop-r2-2ce035', '{"rollout":"shop-r2-2ce035","service":"shop","baseline":{},"end":null,"unexplained":0,"pending":[],"evidence":[{"host":"host-1","instance":{"service":"shop","revision":2,"version":"v2","id":"shop-r2-0-host-1","state":"starting","sinceMs":1795311718988,"healthySinceMs":0,"pid":1,"address":"127.0.0.1","port":1,"restarts":0,"exit":null,"reason":"readiness: 503","output":["listening","warming up for ever"],"inFlight":0,"started":0}}],"notes":[]}');
INSERT INTO counts VALUES ('gateway-1', '{"host":"gateway-1","role":"gateway","boot":"boot-2-3976","incidentSeq":0,"services":{}}');
INSERT INTO counts VALUES ('host-1', '{"host":"host-1","role":"host","boot":"boot-1-3976","incidentSeq":0,"services":{"shop":{"versions":{"v1":{"started":40,"completed":40,"errors":1,"retried":0,"drained":0,"clientGone":0,"tunnels":0,"eventStreams":0,"lost":[0,0,0,0,0,0,0,0,0,0],"cut":[0,0],"latency":[[12,40]]}},"last":[{"version":"v1","endpoint":"shop-r1-0-host-1","totals":{"started":40,"completed":40,"errors":1,"retried":0,"drained":0,"clientGone":0,"tunnels":0,"eventStreams":0,"lost":[0,0,0,0,0,0,0,0,0,0],"cut":[0,0],"latency":[[12,40]]}}]}}}');
INSERT INTO events VALUES (1, 1795311718559, 'controller_started', '', '', '', '', 'epoch 1 on sqlite /var/lib/baton/controller.db');
INSERT INTO events VALUES (2, 1795311718580, 'host_joined', '', '', 'host-1', '', 'host host-1 joined at 127.0.0.1');
INSERT INTO events VALUES (3, 1795311718580, 'host_joined', '', '', 'gateway-1', '', 'gateway gateway-1 joined at 127.0.0.1');
INSERT INTO events VALUES (4, 1795311718589, 'service_created', 'shop', '', '', 'operator', 'shop v1 is revision 1');
INSERT INTO events VALUES (5, 1795311718600, 'rollout_started', 'shop', 'shop-r1-28a63e', '', 'operator', 'shop goes from nothing to v1');
INSERT INTO events VALUES (6, 1795311718636, 'rollout', 'shop', 'shop-r1-28a63e', '', 'engine', 'Step (HostStarting): host-1: starts v1');
INSERT INTO events VALUES (7, 1795311718747, 'rollout', 'shop', 'shop-r1-28a63e', '', 'engine', 'Step (HostShifting): host-1: v1 is ready and takes new requests');
INSERT INTO events VALUES (8, 1795311718773, 'rollout', 'shop', 'shop-r1-28a63e', '', 'engine', 'Step (HostDraining): host-1: serves v1');
INSERT INTO events VALUES (9, 1795311718838, 'rollout', 'shop', 'shop-r1-28a63e', '', 'engine', 'Step (HostStopping): host-1: nothing is drained and stops');
INSERT INTO events VALUES (10, 1795311718839, 'rollout', 'shop', 'shop-r1-28a63e', '', 'engine', 'Step (HostDone): host-1: serves v1 alone');
INSERT INTO events VALUES (11, 1795311718904, 'rollout', 'shop', 'shop-r1-28a63e', '', 'engine', 'Promoting (Promoted): v1 is stable now');
INSERT INTO events VALUES (12, 1795311718907, 'rollout', 'shop', 'shop-r1-28a63e', '', 'engine', 'Succeeded (Succeeded): 1 of 1 hosts serve v1');
INSERT INTO events VALUES (13, 1795311718924, 'service_created', 'cart', '', '', 'operator', 'cart 7 is revision 1');
INSERT INTO events VALUES (14, 1795311718930, 'rollout_started', 'cart', 'cart-r1-b11347', '', 'operator', 'cart goes from nothing to 7');
INSERT INTO events VALUES (15, 1795311718940, 'service_configured', 'shop', '', '', 'operator', 'shop v2 is revision 2');
INSERT INTO events VALUES (16, 1795311718943, 'rollout_started', 'shop', 'shop-r2-2ce035', '', 'operator', 'shop goes from v1 to v2');
INSERT INTO events VALUES (17, 1795311718960, 'rollout', 'cart', 'cart-r1-b11347', '', 'engine', 'Step (HostStarting): host-1: starts 7');
INSERT INTO events VALUES (18, 1795311718986, 'rollout', 'shop', 'shop-r2-2ce035', '', 'engine', 'Step (HostStarting): host-1: starts v2 beside what serves');
INSERT INTO events VALUES (19, 1795311719990, 'rollout', 'shop', 'shop-r2-2ce035', '', 'engine', 'Step (Unhealthy): v2 on host-1 was not ready within 1s (readiness: 503)');
INSERT INTO events VALUES (20, 1795311719997, 'rollout', 'shop', 'shop-r2-2ce035', '', 'ann', 'Step (Resumed): ann goes on after Unhealthy: v2 on host-1 was not ready within 1s (readiness: 503)');
INSERT INTO events VALUES (21, 1795311720000, 'rollout', 'shop', 'shop-r2-2ce035', '', 'ann', 'Step (Manual): kept for later');
INSERT INTO events VALUES (22, 1795311722501, 'controller_stopping', '', '', '', '', 'enough');
PRAGMA application_id = 1112821297;
PRAGMA user_version = 1;
