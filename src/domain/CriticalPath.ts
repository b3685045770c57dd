/**
 * How long the way is from the start of each build to the end of its graph: what comes first when not all can.
 *
 * A build's *rank* is its own time and the largest rank among those that wait for it. It depends on nothing that comes
 * before, so a build that takes longer than it was estimated changes its inputs' ranks and theirs, and no other. A change
 * is carried from dependents to inputs in the order of the graph, so that each build is looked at once, and no further
 * than ranks change. Only where the largest of a build's dependents became smaller are all of them looked at.
 *
 * The graph grows: builds come with all their inputs, which may have come before, and never gain one.
 */
export interface Step<K> {
  readonly key: K
  /** What must have been built before; what is neither here nor known is there already, and counts for nothing. */
  readonly inputs: Iterable<K>
  /** Estimated. */
  readonly seconds: number
}

/** The end of a list of edges. */
const none = -1

export class CriticalPath<K> {
  // A column for each thing that is known of a build: hundreds of thousands of objects would take five times as much.
  // A build's number is its place in an order in which inputs come before what is built of them.
  private readonly numbers = new Map<K, number>()
  private readonly keys: Array<K> = []
  private readonly seconds: Array<number> = []
  private readonly ranks: Array<number> = []
  /** Where a build's inputs begin in `inputs`; they end where those of the next one begin. */
  private readonly firstInputs: Array<number> = [0]
  private readonly inputs: Array<number> = []
  /** A build's dependents, as a list: each edge says which build it leads to, and which edge comes next. */
  private readonly firstEdges: Array<number> = []
  private readonly targets: Array<number> = []
  private readonly nextEdges: Array<number> = []

  get size(): number {
    return this.keys.length
  }

  /** Zero for what is not known. */
  rank(key: K): number {
    return this.ranks[this.numbers.get(key) ?? none] ?? 0
  }

  /** Those that wait for it. */
  dependents(key: K): ReadonlyArray<K> {
    const dependents: Array<K> = []
    for (const dependent of this.dependentsOf(this.numbers.get(key) ?? none)) dependents.push(this.keys[dependent]!)
    return dependents
  }

  /** Adds builds, in any order. Gives the known ones whose rank changed by it; null if they wait for each other. */
  add(steps: ReadonlyArray<Step<K>>): ReadonlyArray<K> | null {
    const sorted = inputsFirst(steps.filter(({ key }) => !this.numbers.has(key)))
    if (sorted === null) return null
    const known = this.size
    for (const step of sorted) this.append(step)
    // From the end: by then each of them has its own rank.
    const pending = new Latest()
    for (let build = this.size - 1; build >= known; build--) {
      this.ranks[build] = this.longest(build)
      for (const input of this.inputsOf(build)) if (input < known) pending.push(input)
    }
    return this.settle(pending)
  }

  /** Its time is another than was thought. Gives the builds whose rank changed by it. */
  estimate(key: K, seconds: number): ReadonlyArray<K> {
    const build = this.numbers.get(key)
    if (build === undefined || this.seconds[build] === seconds) return []
    this.seconds[build] = seconds
    const pending = new Latest()
    pending.push(build)
    return this.settle(pending)
  }

  private append({ inputs, key, seconds }: Step<K>): void {
    const build = this.keys.push(key) - 1
    this.numbers.set(key, build)
    this.seconds.push(seconds)
    this.ranks.push(0)
    this.firstEdges.push(none)
    for (const each of new Set(inputs)) {
      const input = this.numbers.get(each)
      if (input === undefined) continue
      this.inputs.push(input)
      this.nextEdges.push(this.firstEdges[input]!)
      this.firstEdges[input] = this.targets.push(build) - 1
    }
    this.firstInputs.push(this.inputs.length)
  }

  /** From dependents to inputs, no further than ranks change. */
  private settle(pending: Latest): ReadonlyArray<K> {
    const changed: Array<K> = []
    for (let build = pending.pop(); build !== null; build = pending.pop()) {
      const before = this.ranks[build]!
      const after = this.longest(build)
      if (after === before) continue
      this.ranks[build] = after
      changed.push(this.keys[build]!)
      for (const input of this.inputsOf(build)) {
        const [rank, seconds] = [this.ranks[input]!, this.seconds[input]!]
        // Of an input that waits for something longer, neither the old way nor the new one is the longest.
        if (seconds + Math.max(before, after) >= rank) pending.push(input)
      }
    }
    return changed
  }

  private longest(build: number): number {
    let longest = 0
    for (const dependent of this.dependentsOf(build)) longest = Math.max(longest, this.ranks[dependent]!)
    return this.seconds[build]! + longest
  }

  private *inputsOf(build: number): Generator<number> {
    const end = this.firstInputs[build + 1]!
    for (let at = this.firstInputs[build]!; at < end; at++) yield this.inputs[at]!
  }

  private *dependentsOf(build: number): Generator<number> {
    for (let edge = this.firstEdges[build] ?? none; edge !== none; edge = this.nextEdges[edge]!) {
      yield this.targets[edge]!
    }
  }
}

/** Null if there is no such order. */
const inputsFirst = <K>(steps: ReadonlyArray<Step<K>>): ReadonlyArray<Step<K>> | null => {
  const missing = new Map<K, number>(steps.map(({ key }) => [key, 0]))
  const waiting = new Map<K, Array<Step<K>>>()
  for (const step of steps) {
    for (const input of new Set(step.inputs)) {
      if (!missing.has(input)) continue
      missing.set(step.key, missing.get(step.key)! + 1)
      const others = waiting.get(input)
      if (others === undefined) waiting.set(input, [step])
      else others.push(step)
    }
  }
  const sorted = steps.filter(({ key }) => missing.get(key) === 0)
  for (let index = 0; index < sorted.length; index++) {
    for (const step of waiting.get(sorted[index]!.key) ?? []) {
      const left = missing.get(step.key)! - 1
      missing.set(step.key, left)
      if (left === 0) sorted.push(step)
    }
  }
  return sorted.length === steps.length ? sorted : null
}

/** A heap that gives the highest number, each once. */
class Latest {
  private readonly heap: Array<number> = []
  private readonly known = new Set<number>()

  push(value: number): void {
    if (this.known.has(value)) return
    this.known.add(value)
    let at = this.heap.push(value) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (this.heap[above]! >= value) break
      this.heap[at] = this.heap[above]!
      at = above
    }
    this.heap[at] = value
  }

  pop(): number | null {
    const top = this.heap[0]
    const last = this.heap.pop()
    if (top === undefined || last === undefined) return null
    this.known.delete(top)
    if (this.heap.length === 0) return top
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.heap.length) break
      if (below + 1 < this.heap.length && this.heap[below + 1]! > this.heap[below]!) below++
      if (this.heap[below]! <= last) break
      this.heap[at] = this.heap[below]!
      at = below
    }
    this.heap[at] = last
    return top
  }
}
