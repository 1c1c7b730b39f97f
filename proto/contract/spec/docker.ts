/**
 * A service that runs as containers, as its document says it, checked and complete. The words are Compose's and Nomad's;
 * pull policies are Kubernetes'.
 *
 * Units  bytes; `cpus` are whole CPUs (0.5 is half of one); 0 is "no limit", "" and null "as the image says".
 */
export interface DockerRun {
  readonly kind: "docker";
  /** `shop:v2`, `registry.example:5000/team/shop@sha256:…`. */
  readonly image: string;
  readonly entrypoint: readonly string[] | null;
  readonly command: readonly string[] | null;
  readonly env: Readonly<Record<string, string>>;
  /** Containers of the service on one host. */
  readonly count: number;
  /** Where the app listens inside. 0: in a network namespace that it shares, where Baton gives each instance its own. */
  readonly port: number;
  readonly network: string;
  readonly mounts: readonly DockerMount[];
  readonly user: string;
  readonly workdir: string;
  /** A small init as PID 1, which reaps zombies. */
  readonly init: boolean;
  readonly limits: { readonly memoryBytes: number; readonly cpus: number; readonly pids: number };
  readonly shmBytes: number;
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[];
  readonly pullPolicy: (typeof PULL_POLICIES)[number];
  /** On the host: Docker's config.json, or one line `user:password`. */
  readonly credentialsFile: string | null;
  /** Old images of the service that stay on the host when nothing uses them any more. */
  readonly retain: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly logging: { readonly driver: string; readonly options: Readonly<Record<string, string>> };
}

export interface DockerMount {
  readonly type: (typeof MOUNT_TYPES)[number];
  /** A path of the host, a volume's name; "" for tmpfs. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

export const PULL_POLICIES = ["Always", "IfNotPresent", "Never"] as const;
export const MOUNT_TYPES = ["bind", "volume", "tmpfs"] as const;

/** Labels that Baton finds its own containers by: nobody else may set one. */
export const LABEL_PREFIX = "baton.";

export const DOCKER_BOUNDS = {
  imageLength: 512,
  pathLength: 4_096,
  nameLength: 128,
  /** 1 PiB. */
  bytes: 2 ** 50,
  cpus: 4_096,
  pids: 4_194_304,
  ulimit: 2 ** 40,
  retain: 100,
} as const;

const noNul = (t: string): boolean => !t.includes("\0");
export const isAbsolutePath = (path: string): boolean => path.startsWith("/") && noNul(path);
export const isVolumeName = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9_.-]+$/.test(name);
export const isUlimit = (name: string): boolean => /^[a-z]{2,20}$/.test(name);
export const isUser = (user: string): boolean => /^\w[\w.-]*(:\w[\w.-]*)?$/.test(user);
export const isLogDriver = (name: string): boolean => /^[\w./:-]+$/.test(name);
export const isOwnLabel = (key: string): boolean => key !== "" && noNul(key) && !key.startsWith(LABEL_PREFIX);

export const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

export function formatSize(bytes: number): string {
  for (const unit of ["g", "m", "k"] as const) {
    const of = SIZE_UNITS[unit] ?? 1;
    if (bytes >= of && bytes % of === 0) return `${String(bytes / of)}${unit}`;
  }
  return `${String(bytes)}b`;
}

/** How the sidecar and the app find each other. */
export type DockerNetwork =
  /** A namespace of its own; its port is published on the host's loopback. */
  | { readonly kind: "bridge" }
  /** It shares the host's, another container's, or the agent's own: the app is on loopback, as a process is. */
  | { readonly kind: "host" }
  | { readonly kind: "agent" }
  | { readonly kind: "container"; readonly name: string }
  /** A network that is there already: the app is at its container's address. */
  | { readonly kind: "named"; readonly name: string };

const NETWORK_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

export function dockerNetwork(text: string): DockerNetwork | undefined {
  if (text === "bridge" || text === "host" || text === "agent") return { kind: text };
  if (text === "none" || text === "default") return undefined;
  if (!text.startsWith("container:")) return NETWORK_NAME.test(text) ? { kind: "named", name: text } : undefined;
  const name = text.slice("container:".length);
  return NETWORK_NAME.test(name) ? { kind: "container", name } : undefined;
}

/** It shares a network namespace, where a port is had by one alone. */
export const sharesPorts = (network: DockerNetwork): boolean => network.kind !== "bridge" && network.kind !== "named";

export interface ImageName {
  /** With the registry where one is named: what a pull is asked for. */
  readonly repository: string;
  /** "docker.io" where none is named. */
  readonly registry: string;
  /** "" beside a digest. */
  readonly tag: string;
  /** `sha256:…`, or "". */
  readonly digest: string;
}

const PART = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const REGISTRY = /^(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:)|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** What Docker takes for an image's name, read as Docker reads it: without a tag it is `latest`. */
export function parseImage(text: string): ImageName | undefined {
  const [named = "", digest = "", ...more] = text.split("@");
  if (more.length > 0 || (text.includes("@") && !DIGEST.test(digest))) return undefined;
  const colon = named.lastIndexOf(":");
  const hasTag = colon > named.lastIndexOf("/");
  const repository = hasTag ? named.slice(0, colon) : named;
  const tag = hasTag ? named.slice(colon + 1) : digest === "" ? "latest" : "";
  if ((hasTag && !TAG.test(tag)) || repository.length > 255) return undefined;
  const [first = "", ...rest] = repository.split("/");
  const hasRegistry = rest.length > 0 && REGISTRY.test(first);
  const parts = hasRegistry ? rest : [first, ...rest];
  if (!parts.every((part) => PART.test(part))) return undefined;
  return { repository, registry: hasRegistry ? first : "docker.io", tag, digest };
}
