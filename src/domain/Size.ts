/**
 * Sizes as people write them: 512M, 11G. Always binary, so that what one asks for is what one gets.
 */
const units = ["K", "M", "G", "T"] as const

/** Bytes; null for what is no size. A bare number is none: nobody can see what it counts. */
export const parse = (text: string): number | null => {
  const [, digits, unit] = /^([1-9][0-9]{0,12})([KMGT])$/i.exec(text) ?? []
  if (digits === undefined || unit === undefined) return null
  // The expression admits no other letter than the units'.
  const power = units.indexOf(unit.toUpperCase() as (typeof units)[number]) + 1
  const bytes = Number(digits) * 1024 ** power
  return Number.isSafeInteger(bytes) ? bytes : null
}

/** In the largest unit that leaves a whole number; the smallest there is, rounded up, for what is no multiple of it. */
export const print = (bytes: number): string => {
  const power = units.findLastIndex((_, index) => bytes > 0 && bytes % 1024 ** (index + 1) === 0)
  const index = Math.max(power, 0)
  return `${Math.ceil(bytes / 1024 ** (index + 1))}${units[index]}`
}
