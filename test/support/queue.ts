/** A queue that is told one thing after another, in seconds that pass when a test says so. */
import * as Queue from "../../src/actors/scheduler/Queue.ts"
import type * as Room from "../../src/actors/scheduler/Room.ts"
import { HostId } from "../../src/domain/Host.ts"
import { LeaseId } from "../../src/domain/Lease.ts"
import type { host, need } from "./needs.ts"

export const queue = (hosts: ReadonlyArray<ReturnType<typeof host>>) => {
  let books = Queue.open(hosts)
  const decisions: Array<Queue.Decision> = []
  let at = 0
  const tell = (message: Untimed<Queue.Message>) => {
    const [next, made] = Queue.step(books, { ...message, at })
    books = next
    decisions.push(...made)
    return made
  }
  return {
    ask: (...needs: ReadonlyArray<ReturnType<typeof need>>) =>
      granted(needs.flatMap((need) => tell({ _tag: "Requested", need }))),
    giveBack: (...leases: ReadonlyArray<string>) =>
      granted(leases.flatMap((lease) => tell({ _tag: "Returned", lease: LeaseId.make(lease) }))),
    change: (host: string, state: Room.State) => tell({ _tag: "HostChanged", host: HostId.make(host), state }),
    tell,
    pass: (milliseconds: number) => {
      at += milliseconds
    },
    books: () => books,
    decisions
  }
}

type Untimed<M> = M extends Queue.Message ? Omit<M, "at"> : never

export const granted = (decisions: ReadonlyArray<Queue.Decision>) =>
  decisions.flatMap((decision) => (decision._tag === "Granted" ? [decision.lease.id as string] : []))
