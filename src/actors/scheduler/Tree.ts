/**
 * A set in order, of which each part knows how many it holds and the least measure among them.
 *
 * So the first that is small enough is found without looking at those that are not, and a place is told without
 * counting. Weight-balanced: no subtree is more than `heavier` times as large as its sibling, so every operation takes
 * O(log n). Persistent: an operation shares all but one path with the tree it came of, which stays as it was.
 *
 * @see Adams, "Implementing sets efficiently in a functional language"; the factors are those proven by Hirai and
 * Yamamoto, "Balancing weight-balanced trees".
 */
export type Tree<V> = Node<V> | null

interface Node<V> {
  readonly left: Tree<V>
  readonly value: V
  readonly right: Tree<V>
  readonly size: number
  readonly least: number
}

/** How values stand to each other. Two that compare as equal are one. */
export interface Order<V> {
  readonly compare: (a: V, b: V) => number
  readonly measure: (value: V) => number
}

export const size = (tree: Tree<unknown>): number => (tree === null ? 0 : tree.size)

/** Infinite where there is nothing. */
export const least = (tree: Tree<unknown>): number => (tree === null ? Infinity : tree.least)

export const insert = <V>(order: Order<V>, tree: Tree<V>, value: V): Node<V> => {
  if (tree === null) return node(order, null, value, null)
  const way = order.compare(value, tree.value)
  if (way < 0) return balance(order, insert(order, tree.left, value), tree.value, tree.right)
  if (way > 0) return balance(order, tree.left, tree.value, insert(order, tree.right, value))
  return node(order, tree.left, value, tree.right)
}

export const remove = <V>(order: Order<V>, tree: Tree<V>, value: V): Tree<V> => {
  if (tree === null) return null
  const way = order.compare(value, tree.value)
  if (way < 0) return balance(order, remove(order, tree.left, value), tree.value, tree.right)
  if (way > 0) return balance(order, tree.left, tree.value, remove(order, tree.right, value))
  if (tree.left === null) return tree.right
  if (tree.right === null) return tree.left
  const next = first(tree.right)
  return balance(order, tree.left, next, remove(order, tree.right, next))
}

const first = <V>(tree: Node<V>): V => (tree.left === null ? tree.value : first(tree.left))

export const last = <V>(tree: Tree<V>): V | null =>
  tree === null ? null : tree.right === null ? tree.value : last(tree.right)

/** The first in order whose measure is at most `limit`. */
export const firstWithin = <V>(order: Order<V>, tree: Tree<V>, limit: number): V | null => {
  let at = tree
  while (at !== null && at.least <= limit) {
    if (at.left !== null && at.left.least <= limit) at = at.left
    else if (order.measure(at.value) <= limit) return at.value
    else at = at.right
  }
  return null
}

/** The same, of those that `isFrom`: it must hold of everything that comes after a value of which it holds. */
export const firstFrom = <V>(
  order: Order<V>,
  tree: Tree<V>,
  isFrom: (value: V) => boolean,
  limit: number
): V | null => {
  if (tree === null || tree.least > limit) return null
  if (!isFrom(tree.value)) return firstFrom(order, tree.right, isFrom, limit)
  const before = firstFrom(order, tree.left, isFrom, limit)
  if (before !== null) return before
  // Whatever is to the right comes after this one.
  return order.measure(tree.value) <= limit ? tree.value : firstWithin(order, tree.right, limit)
}

/** How many come before it, whether or not it is in the tree. */
export const countBefore = <V>(order: Order<V>, tree: Tree<V>, value: V): number => {
  let count = 0
  let at = tree
  while (at !== null) {
    if (order.compare(at.value, value) < 0) {
      count += size(at.left) + 1
      at = at.right
    } else at = at.left
  }
  return count
}

/** All, in order. */
export function* values<V>(tree: Tree<V>): Generator<V> {
  if (tree === null) return
  yield* values(tree.left)
  yield tree.value
  yield* values(tree.right)
}

const heavier = 3
const singly = 2

const node = <V>(order: Order<V>, left: Tree<V>, value: V, right: Tree<V>): Node<V> => ({
  left,
  value,
  right,
  size: size(left) + size(right) + 1,
  least: Math.min(least(left), least(right), order.measure(value))
})

/** Joins two trees of which one has changed by one value. */
const balance = <V>(order: Order<V>, left: Tree<V>, value: V, right: Tree<V>): Node<V> => {
  const weights = [size(left) + 1, size(right) + 1] as const
  if (right !== null && weights[1] > heavier * weights[0]) {
    const { left: inner, right: outer } = right
    if (inner === null || size(inner) + 1 < singly * (size(outer) + 1)) {
      return node(order, node(order, left, value, inner), right.value, outer)
    }
    return node(order, node(order, left, value, inner.left), inner.value, node(order, inner.right, right.value, outer))
  }
  if (left !== null && weights[0] > heavier * weights[1]) {
    const { left: outer, right: inner } = left
    if (inner === null || size(inner) + 1 < singly * (size(outer) + 1)) {
      return node(order, outer, left.value, node(order, inner, value, right))
    }
    return node(order, node(order, outer, left.value, inner.left), inner.value, node(order, inner.right, value, right))
  }
  return node(order, left, value, right)
}
