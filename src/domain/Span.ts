/** Spans of time as people write them for an option: `0`, `90s`, `10m`, `2h`. */

const seconds: { readonly [unit: string]: number } = { s: 1, m: 60, h: 3600 }

/** In seconds; null for what is none. */
export const parse = (text: string): number | null => {
  const [, number, unit] = /^(0|[1-9][0-9]{0,5})(s|m|h)$/.exec(text === "0" ? "0s" : text) ?? []
  return number === undefined || unit === undefined ? null : Number(number) * seconds[unit]!
}

/** In the largest unit that says it whole. */
export const print = (span: number): string => {
  const unit = ["h", "m"].find((each) => span > 0 && span % seconds[each]! === 0) ?? "s"
  return `${span / seconds[unit]!}${unit}`
}
