/**
 * Who hears of everything that happens in a simulation, counts it, and complains of what must not be.
 *
 * Of what led to a complaint the last things are kept, in words that are only found once somebody asks for them. The
 * digest is of everything in its order, with its time and all chance that was taken before it: two runs of one seed that
 * differ anywhere differ in it.
 */
import type { Event } from "../../src/domain/Event.ts"
import { Checker } from "../../src/domain/Invariants.ts"
import { words } from "../../src/domain/Violation.ts"
import type { Chance } from "./Chance.ts"
import type { Universe } from "./Universe.ts"

/** What led to a complaint is in the last of what happened. */
const trailMax = 200

/** What is judged by a simulation alone, which knows what the record does not tell: null if nothing is wrong. */
export type Rule = (event: Event) => string | null

interface Step {
  readonly at: number
  readonly what: string | Event
}

export class Judge {
  readonly complaints: Array<string> = []
  readonly counts: Record<string, number> = {}
  readonly #checker = new Checker()
  readonly #rules: Array<Rule> = []
  /** A ring: a step takes the place of the one `trailMax` before it. */
  readonly #steps: Array<Step> = []
  readonly #universe: Universe
  readonly #chance: Chance
  readonly #begun: number
  #stepped = 0
  #digest = 0x811c9dc5
  #run = 0
  #ordinal = 0

  constructor(universe: Universe, chance: Chance) {
    this.#universe = universe
    this.#chance = chance
    this.#begun = universe.now
  }

  /** Judges each event as well. */
  add(rule: Rule) {
    this.#rules.push(rule)
  }

  readonly complain = (complaint: string) => {
    this.complaints.push(complaint)
  }

  get isContent(): boolean {
    return this.complaints.length === 0
  }

  count(what: string) {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  note(what: string) {
    this.#step(what, what)
  }

  /** What is appended from now on is of a server that starts. */
  begin() {
    this.#run++
    this.#ordinal = 0
    this.append({ _tag: "ServerStarted" })
  }

  readonly append = (event: Event) => {
    this.#ordinal++
    this.#step(event, event._tag)
    this.count(event._tag)
    const recorded = { run: this.#run, ordinal: this.#ordinal, at: this.#universe.now, event }
    for (const violation of this.#checker.read(recorded)) this.complain(words(violation))
    for (const rule of this.#rules) {
      const wrong = rule(event)
      if (wrong !== null) this.complain(wrong)
    }
  }

  get open() {
    return this.#checker.open
  }

  get digest(): string {
    return (this.#digest >>> 0).toString(16).padStart(8, "0")
  }

  get trail(): ReadonlyArray<string> {
    const oldest = this.#stepped % trailMax
    const steps = [...this.#steps.slice(oldest), ...this.#steps.slice(0, oldest)]
    return steps.map(({ at, what }) => `${at} ms  ${typeof what === "string" ? what : JSON.stringify(what)}`)
  }

  #step(what: string | Event, name: string) {
    const at = this.#universe.now - this.#begun
    this.#mix(at)
    this.#mix(this.#chance.state)
    for (let index = 0; index < name.length; index++) this.#mix(name.charCodeAt(index))
    if (!this.isContent) return
    this.#steps[this.#stepped % trailMax] = { at, what }
    this.#stepped++
  }

  /** FNV-1a, of words in place of bytes. */
  #mix(word: number) {
    this.#digest = Math.imul(this.#digest ^ word, 0x01000193)
  }
}
