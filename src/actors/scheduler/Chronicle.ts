/**
 * What a step of the scheduler's books comes to as events: pure, and of the books alone, so that the record has leases
 * and hosts in the very order in which the scheduler dealt with them.
 *
 * A host that is kept for somebody counts as lent to them. It is told of before what the step grants, and that it is
 * kept no more after it: in between stands whatever was kept at any moment of the step.
 */
import { HashMap } from "effect"
import type { Event } from "../../domain/Event.ts"
import type { Host, HostId } from "../../domain/Host.ts"
import type { LeaseId } from "../../domain/Lease.ts"
import * as Line from "./Line.ts"
import type { Books, Decision, Message } from "./Queue.ts"
import * as Room from "./Room.ts"

/** Of hosts that are there from the start. */
export const opening = (hosts: ReadonlyArray<Host>): ReadonlyArray<Event> =>
  hosts.map((host) => hostChanged(host, "open"))

export const events = (
  before: Books,
  message: Message,
  decisions: ReadonlyArray<Decision>,
  after: Books
): ReadonlyArray<Event> => [
  ...ofMessage(before, message, after),
  ...kept(before, after),
  ...decisions.flatMap((decision) => ofDecision(decision, after)),
  ...freed(before, after)
]

const ofMessage = (before: Books, message: Message, after: Books): ReadonlyArray<Event> => {
  switch (message._tag) {
    case "Requested": {
      const { account, cores, features, lease, memoryBytes, system } = message.need
      return isKnown(before, lease)
        ? []
        : [
            {
              _tag: "LeaseRequested",
              lease,
              account,
              system,
              features: [...new Set(features)].sort(),
              cores,
              memoryBytes
            }
          ]
    }
    case "Returned":
      return [{ _tag: "LeaseReturned", lease: message.lease }]
    case "Weighed":
      return [{ _tag: "AccountWeighed", account: message.account, weight: message.weight }]
    case "HostJoined":
      return opening([message.host])
    case "HostChanged": {
      const entry = Room.find(after.room, message.host)
      return entry === null ? [] : [hostChanged(entry.host, entry.state)]
    }
    case "Reprioritised":
      return []
  }
}

const ofDecision = (decision: Decision, { loans }: Books): ReadonlyArray<Event> => {
  switch (decision._tag) {
    case "Granted": {
      const { id: lease } = decision.lease
      const { host, price } = HashMap.getUnsafe(loans, lease)
      return [{ _tag: "LeaseGranted", lease, host, ...price }]
    }
    case "NeverFits":
      return [{ _tag: "LeaseRefused", lease: decision.lease }]
  }
}

/** A second asker of the same name gets nothing, and is none. */
const isKnown = ({ line, loans }: Books, lease: LeaseId): boolean =>
  Line.find(line, lease) !== null || HashMap.has(loans, lease)

/** All that are kept are looked through: they are few, no more than there are hosts. */
const kept = (before: Books, after: Books): ReadonlyArray<Event> =>
  before.kept === after.kept
    ? []
    : [...HashMap.entries(after.kept)].flatMap(([lease, { host, price }]): ReadonlyArray<Event> =>
        hostOf(before, lease) === host ? [] : [{ _tag: "HostKept", lease, host, ...price }]
      )

const freed = (before: Books, after: Books): ReadonlyArray<Event> =>
  before.kept === after.kept
    ? []
    : [...HashMap.keys(before.kept)].flatMap((lease): ReadonlyArray<Event> =>
        HashMap.has(after.kept, lease) ? [] : [{ _tag: "HostFreed", lease }]
      )

const hostOf = ({ kept }: Books, lease: LeaseId): HostId | null =>
  HashMap.has(kept, lease) ? HashMap.getUnsafe(kept, lease).host : null

const hostChanged = ({ cores, id, memoryBytes }: Host, state: Room.State): Event => ({
  _tag: "HostChanged",
  host: id,
  state,
  cores,
  memoryBytes
})
