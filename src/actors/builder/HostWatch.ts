/**
 * The watch over one host: performs what `HostLifecycle` decides.
 *
 * It is told how each sandbox came to its end, and tells whoever lends the host when that has to stop. A probe is a
 * sandbox of the host's own, run beside what still runs there, once there is room for it: what it takes is lent to nobody
 * else, since a host that is probed is not lent.
 */
import { Duration, Effect, FiberMap, Option, type Scope, Semaphore, Stream } from "effect"
import type { HostId } from "../../domain/Host.ts"
import * as Actor from "../Actor.ts"
import type { BuilderLost } from "./BuilderPool.ts"
import { Command, Message, type State, start, startDrained, table } from "./HostLifecycle.ts"

/** What whoever lends the host is told. */
export type Lending = "open" | "draining" | "quarantined"

export interface HostWatch {
  readonly tell: (message: Message) => Effect.Effect<void>
  readonly state: Effect.Effect<State>
  /** Never returns; fails with whatever ended the watch. */
  readonly ended: Effect.Effect<never>
}

export interface Options {
  readonly host: HostId
  readonly probe: Effect.Effect<void, BuilderLost>
  /** Returns once a probe has its room. As little as that is what a build needs at the least, so nobody waits for it. */
  readonly room: Effect.Effect<void>
  readonly lend: (lending: Lending, reason: string) => Effect.Effect<void>
  readonly isDrained: boolean
  /** The most builders that may run on it at a time: each owes one word. */
  readonly buildersMax: number
}

/** An emulated machine on a busy host starts within a quarter of a minute. */
const probeTime = "2 minutes"

/** Words of the operator, of probes and of builders that ended one after another while the watch had no turn. */
const mailboxSlack = 256

export const spawn = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<HostWatch, never, Scope.Scope> {
  const { host, lend } = options
  // One of a kind at a time: a probe that is begun, or due, ends the one before.
  const calls = yield* FiberMap.make<"probe" | "later">()
  const probed: Effect.Effect<string | null> = options.probe.pipe(
    Effect.as(null),
    Effect.timeoutOrElse({
      duration: probeTime,
      orElse: () => Effect.succeed(`expected a probe to end within ${probeTime}, found it still running`)
    }),
    Effect.catchTag("BuilderLost", ({ detail }) => Effect.succeed(detail)),
    // A probe that dies has told as much as one that fails.
    Effect.catchDefect((defect) => Effect.succeed(String(defect)))
  )
  // What an earlier probe took is free once it is gone.
  const turn = yield* Semaphore.make(1)
  const trouble = turn.withPermit(Effect.andThen(options.room, probed))

  const perform = (command: Command, self: Pick<HostWatch, "tell">): Effect.Effect<void> =>
    Command.match(command, {
      Withdraw: ({ reason, why }) =>
        Effect.logWarning("host is not lent any more", { why, reason }).pipe(
          Effect.andThen(lend(why === "drained" ? "draining" : "quarantined", reason))
        ),
      Restore: () => Effect.andThen(Effect.logInfo("host is lent again"), lend("open", "")),
      Probe: ({ probe }) =>
        FiberMap.run(
          calls,
          "probe",
          Effect.flatMap(trouble, (found) => self.tell(Message.cases.Probed.make({ probe, trouble: found })))
        ),
      ProbeLater: ({ milliseconds, probe }) =>
        FiberMap.run(
          calls,
          "later",
          Effect.delay(self.tell(Message.cases.ProbeDue.make({ probe })), Duration.millis(milliseconds))
        )
    }).pipe(Effect.asVoid, Effect.annotateLogs({ host }))

  const first = options.isDrained ? startDrained : start
  const actor = yield* Actor.spawn({
    name: `host/${host}`,
    mailbox: 2 * options.buildersMax + mailboxSlack,
    start: first,
    table,
    perform
  })
  // The first of them is the one it is in.
  const state = Effect.map(Stream.runHead(actor.states), (head) => Option.getOrElse(head, () => first[0]))
  return { tell: actor.tell, state, ended: actor.ended }
})
