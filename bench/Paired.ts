/**
 * Two ways of the same, measured by turns: how much more the one costs than the other, and how sure that is.
 *
 * Of each pair only the difference counts, so what slows both is in neither. The interval is Student's, which holds 95
 * times in 100 for differences that are about normal.
 */

export interface Difference {
  readonly mean: number
  /** With 95 % confidence, from here to there. */
  readonly from: number
  readonly to: number
}

/** Two-sided, 95 %, by degrees of freedom from 1 on; beyond them the next smaller known one, which is on the safe side. */
const quantiles: ReadonlyArray<readonly [freedom: number, quantile: number]> = [
  [1, 12.706],
  [2, 4.303],
  [3, 3.182],
  [4, 2.776],
  [5, 2.571],
  [6, 2.447],
  [7, 2.365],
  [8, 2.306],
  [9, 2.262],
  [10, 2.228],
  [12, 2.179],
  [15, 2.131],
  [20, 2.086],
  [30, 2.042],
  [60, 2],
  [120, 1.98]
]

export const mean = (values: ReadonlyArray<number>): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

/** Of `a` over `b`, pair by pair; at least two pairs. */
export const difference = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): Difference => {
  if (a.length !== b.length || a.length < 2) throw new Error(`expected pairs, found ${a.length} and ${b.length}`)
  const differences = a.map((value, index) => value - b[index]!)
  const middle = mean(differences)
  const freedom = differences.length - 1
  const variance = differences.reduce((sum, value) => sum + (value - middle) ** 2, 0) / freedom
  const [, quantile] = quantiles.findLast(([known]) => known <= freedom)!
  const reach = quantile * Math.sqrt(variance / differences.length)
  return { mean: middle, from: middle - reach, to: middle + reach }
}
