/** Takes apart what parsers return: a value, or why there is none. */
import { assert } from "@effect/vitest"
import { WireError } from "../../src/protocol/wire/Codec.ts"

/** The value; the test fails if there is none. */
export const accepted = <A>(parsed: A | WireError): A => {
  if (parsed instanceof WireError) throw new Error(`refused: ${parsed.message}`)
  return parsed
}

/** What was expected instead; the test fails if nothing was wrong. */
export const refused = (parsed: unknown): string => {
  if (parsed instanceof WireError) return parsed.expected
  assert.fail(`accepted: ${JSON.stringify(parsed)}`)
}

/** As `refused`, of what throws. */
export const refusedBy = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    return refused(error)
  }
  assert.fail("nothing was refused")
}
