/** What was measured, and how it is summed up. */

export type Subject = "drover" | "stock"

/** One thing measured of both, in turn: seconds unless it says otherwise. */
export interface Row {
  readonly name: string
  readonly drover: ReadonlyArray<number>
  readonly stock: ReadonlyArray<number>
}

export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Half of what was measured is below the median; of an even count, it is the middle between two. */
export const summarise = (values: ReadonlyArray<number>): Summary | null => {
  const sorted = [...values].sort((a, b) => a - b)
  const upper = sorted[sorted.length >> 1]
  const lower = sorted[(sorted.length - 1) >> 1]
  const [min] = sorted
  const max = sorted.at(-1)
  if (upper === undefined || lower === undefined || min === undefined || max === undefined) return null
  return { median: (lower + upper) / 2, min, max }
}

/** How many times as long Drover took as the stock builder, by their medians: below one, Drover is faster. */
export const ratio = ({ drover, stock }: Row): number | null => {
  const [ours, theirs] = [summarise(drover), summarise(stock)]
  return ours === null || theirs === null ? null : ours.median / theirs.median
}

/** Left-aligned first column, right-aligned others. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

const seconds = (value: number) => (value < 10 ? value.toFixed(3) : value.toFixed(1))
const range = (summary: Summary | null) => (summary === null ? "" : `${seconds(summary.min)}–${seconds(summary.max)}`)
const median = (summary: Summary | null) => (summary === null ? "—" : seconds(summary.median))

export const comparison = (rows: ReadonlyArray<Row>): string =>
  table([
    ["seconds", "drover", "min–max", "stock", "min–max", "ratio", "rounds"],
    ...rows.map((row) => {
      const [ours, theirs] = [summarise(row.drover), summarise(row.stock)]
      const rounds = String(Math.max(row.drover.length, row.stock.length))
      return [row.name, median(ours), range(ours), median(theirs), range(theirs), ratio(row)?.toFixed(2) ?? "—", rounds]
    })
  ])

export const breakdown = (stages: ReadonlyMap<string, ReadonlyArray<number>>): string =>
  table([
    ["milliseconds", "median", "min–max"],
    ...[...stages].map(([name, values]) => {
      const summary = summarise(values)
      return [
        name,
        summary === null ? "—" : (summary.median * 1000).toFixed(1),
        summary === null ? "" : `${(summary.min * 1000).toFixed(1)}–${(summary.max * 1000).toFixed(1)}`
      ]
    })
  ])
