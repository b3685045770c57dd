/**
 * The network of one build that may have it: a way to the outside, as far as the egress policy goes, and no other.
 *
 * `executor/launcher/network.h` draws it. Here it is said which addresses are within reach, and what the build finds in
 * `/etc` to make use of it. What cannot be had is told as a reason: the build then runs without, never with the host's.
 */
import { Duration, Effect, type Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as EgressPolicy from "../../domain/EgressPolicy.ts"
import * as IpPrefix from "../../domain/IpPrefix.ts"
import type { File } from "../Environment.ts"
import * as Launcher from "../process/Launcher.ts"
import type { SubUids } from "../process/SubUids.ts"
import { SandboxError } from "../SandboxError.ts"
import * as Host from "./Host.ts"

export interface Options {
  readonly launcher: string
  /** The program of passt; null where there is none. */
  readonly passt: string | null
  readonly userNamespaceFd: number
  /** Prefixes that the operator allows beyond what is allowed anyway. */
  readonly allowed: ReadonlyArray<IpPrefix.IpPrefix>
  readonly places: Host.Places
}

/** What is told of the host's by whoever makes networks. */
export interface Circumstances {
  readonly userNamespaceFd: number
  readonly egressAllow?: ReadonlyArray<IpPrefix.IpPrefix>
  /** What is to be otherwise. */
  readonly network?: Partial<Options>
}

export const options = (
  { egressAllow, network, userNamespaceFd }: Circumstances,
  programDirectory: string
): Options => ({
  launcher: path.join(programDirectory, "launcher"),
  passt: findPasst(programDirectory),
  userNamespaceFd,
  allowed: egressAllow ?? [],
  places: Host.places,
  ...network
})

/** User ids, of which a network takes one that nothing else runs under. */
export interface Owners {
  readonly ids: SubUids
  /** What 1 is of them in the namespace of the machine. */
  readonly first: number
  readonly programs: Launcher.Programs
}

/** As what the build is to be: a process is in the network's namespace, a machine plugged into its port. */
export type For = "process" | "machine"

export interface Opened {
  /** A process by which the launcher finds it. */
  readonly process: number
  /** What the guest of a machine makes of it, as in executor/wire.h. */
  readonly words: ReadonlyArray<string>
}

/** Whether there is one, of a build that may have it or not. */
export const isOpen = (network: Opened | string | null): network is Opened =>
  network !== null && typeof network !== "string"

/** Where a build finds its resolver: no address of any machine's. */
const resolvers = { 4: "192.0.0.53", 6: "fd72:6f76:6572::53" } as const

/** Of the host, as stock Nix has them for builds that may have the network. */
const hostFiles = ["hosts", "services"]

/** It takes some ten milliseconds. */
const openWithin = Duration.seconds(10)

/** Where bootstrap unpacks it, and where a system has it. */
export const findPasst = (programDirectory: string): string | null =>
  [path.join(programDirectory, "debian/passt/usr/bin/passt"), "/usr/bin/passt", "/usr/local/bin/passt"].find((file) =>
    fs.existsSync(file)
  ) ?? null

const insideOf = (resolver: string): string => resolvers[IpPrefix.parseAddress(resolver)?.version ?? 4]

/** What a build finds in `/etc` beside what every build does, whether or not there is a network for it. */
export const files = ({ places }: Options): ReadonlyArray<File> => {
  const { resolver } = Host.read(places)
  const found = hostFiles.flatMap((name) => {
    const file = path.join(places.etc, name)
    return fs.existsSync(file) ? [{ name, contents: fs.readFileSync(file) }] : []
  })
  const text = resolver === null ? "" : `nameserver ${insideOf(resolver)}\n`
  return [...found, { name: "resolv.conf", contents: Buffer.from(text) }]
}

/** The policy as the launcher is told it, for the versions that lead anywhere. */
export const prefixWords = (policy: EgressPolicy.EgressPolicy, hasVersion6: boolean): ReadonlyArray<string> =>
  policy
    .filter(({ prefix }) => hasVersion6 || prefix.version === 4)
    .map(({ prefix, refusal }) => `${refusal === null ? "+" : "-"}${IpPrefix.print(prefix)}`)

const failed = (detail: string) => new SandboxError({ operation: "making a network", detail })

/** The network of a build that may have one, as long as the scope; else why there is none. */
export const openOrSay = (
  options: Options,
  owners: Owners,
  forWhat: For
): Effect.Effect<Opened | string, never, Scope.Scope> =>
  open(options, owners, forWhat).pipe(
    Effect.tapError((error) => Effect.logWarning("a build that may have the network has none", error)),
    Effect.catch((error) => Effect.succeed(error.message))
  )

const open = Effect.fnUntraced(function* (
  { allowed, launcher, passt, places, userNamespaceFd }: Options,
  { first, ids, programs }: Owners,
  forWhat: For
): Effect.fn.Return<Opened, SandboxError, Scope.Scope> {
  if (passt === null) return yield* failed("the package passt is not installed on this host")
  const { addresses, hasVersion6, resolver } = Host.read(places)
  const policy = EgressPolicy.make({ allowed, addresses })
  const prefixes = prefixWords(policy, hasVersion6)
  const inside = resolver === null ? null : insideOf(resolver)
  const words = [...[forWhat, passt], inside === null ? "none" : `${inside}=${resolver}`, ...prefixes]
  const { child } = yield* Launcher.underIds(
    ids,
    ({ executor }) =>
      Launcher.start(launcher, ["network", "3", `${executor}`, ...words], ["ignore", "pipe", "pipe", userNamespaceFd]),
    ({ executor }) => Launcher.sweep(programs, { first: first + executor - 1, count: 1 })
  )
  const said = Effect.callback<string>((resume) => {
    const { stdout } = child.process
    stdout?.setEncoding("utf8").once("data", (text: string) => resume(Effect.succeed(text)))
  })
  const ended = Effect.flatMap(
    Effect.promise(() => child.ended),
    (trouble) => Effect.fail(failed(plainly(trouble ?? "it has ended")))
  )
  const line = yield* Effect.raceFirst(said, ended).pipe(
    Effect.timeoutOrElse({ duration: openWithin, orElse: () => Effect.fail(failed("it does not come")) })
  )
  const [process = "", ...rest] = line.trim().split(" ")
  return {
    process: Number.parseInt(process, 10),
    words: [...rest, ...prefixes, ...(inside === null ? [] : [`+${inside}`])]
  }
})

/** pasta says much of a system log that is none of its, ours, or anybody's. */
const plainly = (complaint: string): string =>
  complaint
    .split("\n")
    .filter((line) => !line.startsWith("Failed to send"))
    .join("; ")
