/** What the bootstrap tells people, on stderr: stdout belongs to what it starts. */

/** An end that its reader can do something about; told in one line, without a stack. */
export class Refusal extends Error {
  constructor(message, status = 1) {
    super(message)
    this.status = status
  }
}

export const refuse = (message, status) => {
  throw new Refusal(message, status)
}

export const say = (line) => process.stderr.write(`setup: ${line}\n`)

/** Runs one step under its name. Says now and then that it is still at it, and at the end how long it took. */
export const progress = async (name, step) => {
  const began = process.hrtime.bigint()
  const seconds = () => Math.round(Number(process.hrtime.bigint() - began) / 1e8) / 10
  say(`${name} …`)
  const alive = setInterval(() => say(`${name} … ${Math.round(seconds())} s`), 15_000)
  try {
    await step()
  } finally {
    clearInterval(alive)
  }
  say(`${name}: done in ${seconds()} s`)
}
