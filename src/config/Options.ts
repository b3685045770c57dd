/** Every setting of the server, once, in the order in which they are shown. A new one is a row here, and no more. */
import * as path from "node:path"
import type { Backend } from "../domain/Attempt.ts"
import * as IpPrefix from "../domain/IpPrefix.ts"
import * as Isolation from "../domain/Isolation.ts"
import * as ListenAddress from "../domain/ListenAddress.ts"
import * as Size from "../domain/Size.ts"
import * as Span from "../domain/Span.ts"
import { type Setting, setting } from "./Setting.ts"

const sandboxChoices = ["auto", "kvm", "emulated", "process"] as const
export type SandboxChoice = (typeof sandboxChoices)[number]

const sharings = ["account", "shared", "off"] as const
type Sharing = (typeof sharings)[number]

const address = (option: string, about: string, fallback: ListenAddress.ListenAddress) =>
  setting({
    option,
    placeholder: "HOST:PORT",
    about,
    allowed: "HOST:PORT, with a port from 0 to 65535, such as 0.0.0.0:7022 or [::1]:0",
    parse: ListenAddress.parse,
    fallback: () => fallback,
    otherwise: ListenAddress.print(fallback),
    print: ListenAddress.print
  })

/** Every system, said as a word, since an empty list would be none. */
const allSystems = "all"

/** Undefined is what is not allowed; the list has at least one. */
const parseSystems = (text: string): ReadonlyArray<string> | undefined => {
  const systems = text.split(",")
  return systems.every((system) => /^[a-z0-9_]+-linux$/.test(system)) ? [...new Set(systems)] : undefined
}

/** Networks whose machines may do something that others may not. */
const networks = (
  option: string,
  about: string,
  { fallback, otherwise }: { readonly fallback: string; readonly otherwise: string }
) => {
  const parse = (text: string) => (text === "none" ? [] : (IpPrefix.parseList(text) ?? undefined))
  return setting<ReadonlyArray<IpPrefix.IpPrefix>>({
    option,
    placeholder: "LIST",
    about,
    allowed: "prefixes such as 10.1.0.0/16,fd12:3456::/32, with commas between them, or none",
    parse,
    fallback: () => parse(fallback) ?? [],
    otherwise,
    print: (prefixes) => prefixes.map(IpPrefix.print).join(",") || "none"
  })
}

/** In seconds, up to a day: who wants more wants something else. */
const span = (option: string, about: string, fallback: number) =>
  setting<number>({
    option,
    placeholder: "TIME",
    about,
    allowed: "a time from 0 to 24h, such as 30s, 10m or 2h",
    parse: (text) => {
      const seconds = Span.parse(text)
      return seconds !== null && seconds <= 86_400 ? seconds : undefined
    },
    fallback: () => fallback,
    otherwise: Span.print(fallback),
    print: Span.print
  })

const coresMax = 4096
const memoryBytesMin = 256 * 1024 ** 2

/** Left to Drover and its database: an eighth of the machine, but no less and no more than they have a use for. */
const ownMemoryBytes = (total: number) => Math.min(Math.max(total / 8, 256 * 1024 ** 2), 2 * 1024 ** 3)

/** Whole mebibytes, so that it can be written as a size. */
const memoryFor = (total: number) =>
  Math.max(Math.floor((total - ownMemoryBytes(total)) / 1024 ** 2) * 1024 ** 2, memoryBytesMin)

export const settings = {
  /** Without a place of its own, two servers of one machine would share keys and a database. */
  dataDir: setting<string>({
    option: "data-dir",
    placeholder: "DIR",
    about: "where everything is kept: keys, database, store",
    allowed: "a directory's path",
    parse: (text, directory) => (text === "" || text.includes("\0") ? undefined : path.resolve(directory, text)),
    fallback: ({ environment, home, isRoot }) =>
      isRoot
        ? "/var/lib/drover"
        : path.resolve(environment["XDG_DATA_HOME"] || path.join(home, ".local/share"), "drover"),
    otherwise: "/var/lib/drover as root, else $XDG_DATA_HOME/drover",
    print: (directory) => directory
  }),
  /** Only this machine by default: who is let in is for the operator to widen. */
  sshListen: address("ssh-listen", "where Nix connects; port 0 takes any free one", { host: "127.0.0.1", port: 7022 }),
  httpListen: address("http-listen", "where /healthz and /readyz are; port 0 takes any free one", {
    host: "127.0.0.1",
    port: 7080
  }),
  /** Without a bound, builds would slow each other and the server. */
  cores: setting<number>({
    option: "cores",
    placeholder: "N",
    about: "cores that builds may have, all together",
    allowed: `a whole number from 1 to ${coresMax}`,
    parse: (text) => (/^[1-9][0-9]{0,3}$/.test(text) && Number(text) <= coresMax ? Number(text) : undefined),
    fallback: ({ cores }) => cores,
    otherwise: "all of this machine's",
    print: String
  }),
  /** Without a bound, builds would push the server and its database out. */
  memoryBytes: setting<number>({
    option: "memory",
    placeholder: "SIZE",
    about: "memory that builds may have, all together",
    allowed: `a size of at least ${Size.print(memoryBytesMin)}, such as 512M or 11G`,
    parse: (text) => {
      const bytes = Size.parse(text)
      return bytes !== null && bytes >= memoryBytesMin ? bytes : undefined
    },
    fallback: ({ memoryBytes }) => memoryFor(memoryBytes),
    otherwise: "seven eighths of this machine's",
    print: Size.print
  }),
  /** Without it, a client whose network fails for a moment would lose what it has waited for; with too much, others wait. */
  disconnectGraceSeconds: span(
    "disconnect-grace",
    "how long builds are kept whose client is not heard of any more",
    600
  ),
  /** Without it an end cuts every build short; with it, whoever ends the server waits. */
  drainSeconds: span("drain-time", "how long builds that run may go on once the server is told to end", 0),
  /** A virtual machine unless somebody who knows better says otherwise: it never comes to be `process` by itself. */
  sandbox: setting<SandboxChoice>({
    option: "sandbox",
    placeholder: "KIND",
    about: "what a build runs in: auto, kvm, emulated or process",
    allowed: `one of ${sandboxChoices.join(", ")}`,
    parse: (text) => sandboxChoices.find((choice) => choice === text),
    fallback: () => "auto",
    otherwise: "auto: a virtual machine, by KVM where it runs, else emulated",
    print: (choice) => choice
  }),
  /** Without it each machine boots; shared, a machine tells by its start whether others have had such a one. */
  templates: setting<Sharing>({
    option: "templates",
    placeholder: "WHOSE",
    about: "machines that begin as copies of one that has booted: account, shared or off",
    allowed: `one of ${sharings.join(", ")}`,
    parse: (text) => sharings.find((sharing) => sharing === text),
    fallback: () => "account",
    otherwise: "account: each account's machines of templates of their own",
    print: (sharing) => sharing
  }),
  /** Without it nothing is shared between accounts; with too much in it, one of them could lie to the others. */
  isolating: setting<ReadonlyArray<Backend>>({
    option: "isolating",
    placeholder: "LIST",
    about: "kinds of sandbox whose results may answer other accounts",
    allowed: `kinds such as ${Isolation.print(Isolation.isolatingDefault)}, with commas between them, or none`,
    parse: Isolation.parse,
    fallback: () => Isolation.isolatingDefault,
    otherwise: `${Isolation.print(Isolation.isolatingDefault)}: those with kernels of their own`,
    print: Isolation.print
  }),
  /** Without a choice, clients of a host that emulates would send it what another of their builders runs natively. */
  systems: setting<ReadonlyArray<string> | null>({
    option: "systems",
    placeholder: "LIST",
    about: "systems to build for, such as x86_64-linux,aarch64-linux",
    allowed: `systems such as x86_64-linux, with commas between them, or ${allSystems}`,
    parse: (text) => (text === allSystems ? null : parseSystems(text)),
    fallback: () => null,
    otherwise: `${allSystems}: this machine's own, and in virtual machines others, emulated`,
    print: (systems) => systems?.join(",") ?? allSystems
  }),
  /** Without it, a mirror on a private network could not be reached; with too much in it, everything there could be. */
  egressAllow: networks("egress-allow", "networks that fetching builds may reach beside public ones", {
    fallback: "none",
    otherwise: "none: public addresses only"
  }),
  /** Open to all, it would tell anybody how much is built here, and when. */
  metricsAllow: networks("metrics-allow", "networks that may read /metrics, beside /healthz and /readyz", {
    fallback: "127.0.0.0/8,::1",
    otherwise: "this machine: 127.0.0.0/8,::1"
  })
} as const

export type Values = {
  readonly [Name in keyof typeof settings]: (typeof settings)[Name] extends Setting<infer A> ? A : never
}
