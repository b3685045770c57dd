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

interface Node<K> {
  readonly key: K
  /** Inputs come before what is built of them. */
  readonly position: number
  readonly inputs: ReadonlyArray<Node<K>>
  readonly dependents: Array<Node<K>>
  seconds: number
  rank: number
}

export class CriticalPath<K> {
  private readonly nodes = new Map<K, Node<K>>()

  get size(): number {
    return this.nodes.size
  }

  /** Zero for what is not known. */
  rank(key: K): number {
    return this.nodes.get(key)?.rank ?? 0
  }

  /** Those that wait for it. */
  dependents(key: K): ReadonlyArray<K> {
    return this.nodes.get(key)?.dependents.map(({ key }) => key) ?? []
  }

  /** Adds builds, in any order. Gives the known ones whose rank changed by it; null if they wait for each other. */
  add(steps: ReadonlyArray<Step<K>>): ReadonlyArray<K> | null {
    const sorted = inputsFirst(steps.filter(({ key }) => !this.nodes.has(key)))
    if (sorted === null) return null
    const before = this.nodes.size
    const added = sorted.map(({ inputs, key, seconds }) => {
      const known = [...new Set(inputs)].flatMap((input) => this.nodes.get(input) ?? [])
      const position = this.nodes.size
      const node: Node<K> = { key, position, inputs: known, dependents: [], seconds, rank: seconds }
      for (const input of known) input.dependents.push(node)
      this.nodes.set(key, node)
      return node
    })
    // From the end: by then each of them has its own rank.
    const pending = new Latest<Node<K>>()
    for (const node of added.toReversed()) {
      node.rank = node.seconds + largest(node)
      for (const input of node.inputs) if (input.position < before) pending.push(input)
    }
    return this.settle(pending)
  }

  /** Its time is another than was thought. Gives the builds whose rank changed by it. */
  estimate(key: K, seconds: number): ReadonlyArray<K> {
    const node = this.nodes.get(key)
    if (node === undefined || node.seconds === seconds) return []
    const pending = new Latest<Node<K>>()
    const rank = node.rank - node.seconds + seconds
    node.seconds = seconds
    return [key, ...this.settle(this.change(node, rank, pending))]
  }

  /** Gives a build its new rank, and notes whom that concerns. */
  private change(node: Node<K>, rank: number, pending: Latest<Node<K>>): Latest<Node<K>> {
    const before = node.rank
    node.rank = rank
    for (const input of node.inputs) {
      const isLargest = rank > before ? input.seconds + rank > input.rank : input.seconds + before >= input.rank
      if (isLargest) pending.push(input)
    }
    return pending
  }

  private settle(pending: Latest<Node<K>>): ReadonlyArray<K> {
    const changed: Array<K> = []
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      const rank = node.seconds + largest(node)
      if (rank === node.rank) continue
      changed.push(node.key)
      this.change(node, rank, pending)
    }
    return changed
  }
}

const largest = <K>({ dependents }: Node<K>): number => {
  let rank = 0
  for (const dependent of dependents) rank = Math.max(rank, dependent.rank)
  return rank
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

/** A heap that gives the one with the highest position, each once. */
class Latest<N extends { readonly position: number }> {
  private readonly heap: Array<N> = []
  private readonly known = new Set<N>()

  push(node: N): void {
    if (this.known.has(node)) return
    this.known.add(node)
    let at = this.heap.push(node) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (this.heap[above]!.position >= node.position) break
      this.heap[at] = this.heap[above]!
      at = above
    }
    this.heap[at] = node
  }

  pop(): N | undefined {
    const top = this.heap[0]
    const last = this.heap.pop()
    if (top === undefined || last === undefined) return undefined
    this.known.delete(top)
    if (this.heap.length === 0) return top
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.heap.length) break
      if (below + 1 < this.heap.length && this.heap[below + 1]!.position > this.heap[below]!.position) below++
      if (this.heap[below]!.position <= last.position) break
      this.heap[at] = this.heap[below]!
      at = below
    }
    this.heap[at] = last
    return top
  }
}
