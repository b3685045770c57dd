/**
 * What a client sets by SendEnv or SetEnv before its command: kept for its channel, within bounds.
 *
 * Names are those a shell would take, since anything else could only be meant to confuse. A value past the
 * bounds is refused and the session goes on without it, which is how OpenSSH treats a name it does not accept.
 */

export interface Environment {
  /** Whether it was kept. A name said twice keeps its last value. */
  readonly add: (name: string, value: string) => boolean
  readonly variables: ReadonlyMap<string, string>
}

export const countMax = 64
export const nameMax = 128
export const valueMax = 8192

export const make = (): Environment => {
  const variables = new Map<string, string>()
  return {
    add: (name, value) => {
      if (name.length > nameMax || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return false
      if (value.length > valueMax || value.includes("\0")) return false
      if (variables.size >= countMax && !variables.has(name)) return false
      variables.set(name, value)
      return true
    },
    variables
  }
}
