/**
 * What has to be there for each purpose, in order: a step says by looking whether it is done, and does it if not.
 *
 * Looking is cheap, tens of milliseconds for all of them, so there is no mark that could be wrong about what somebody
 * removed. Where the result of a step does not show what it was made from, it keeps the hash of that beside it.
 */
import { busybox } from "./busybox.mjs"
import { compilers } from "./compilers.mjs"
import { executor } from "./executor.mjs"
import { guests } from "./guest/steps.mjs"
import { lock } from "./lock.mjs"
import { npmPackages } from "./packages.mjs"
import { passt } from "./passt.mjs"
import { build } from "./place.mjs"
import { postgres } from "./postgres.mjs"
import { progress, refuse, Refusal, say } from "./say.mjs"
import { ssh2 } from "./ssh2.mjs"
import { bring, machinery, missing, sshd } from "./system.mjs"

const running = { programs: ["compiler", "make", "python"], steps: [ssh2, postgres, busybox, executor, passt] }
const machines = { programs: machinery, steps: guests }
const nixClient = ["nix", "ssh"]

/** By purpose: programs of the system, and steps in order. `start` takes only what running needs, as does `process`. */
const needs = {
  start: {
    programs: [...running.programs, ...machines.programs],
    steps: [npmPackages({ dev: false }), ...running.steps, ...machines.steps]
  },
  process: { programs: running.programs, steps: [npmPackages({ dev: false }), ...running.steps] },
  check: { programs: [], steps: [npmPackages({ dev: true })] },
  test: {
    programs: [...running.programs, ...machines.programs, ...nixClient, "routes"],
    steps: [npmPackages({ dev: true }), ...running.steps, ...machines.steps]
  },
  programs: {
    programs: [...running.programs, ...machines.programs, ...nixClient],
    steps: [npmPackages({ dev: true }), ...running.steps, ...machines.steps, compilers]
  },
  bench: {
    programs: [...running.programs, ...machines.programs, ...nixClient],
    steps: [npmPackages({ dev: true }), ...running.steps, ...machines.steps, sshd]
  }
}

/** Brings everything that `purpose` needs and is not there. */
export const setUp = async (purpose, install) => {
  if (process.platform !== "linux" || !["x64", "arm64"].includes(process.arch)) {
    refuse(`expected Linux on x64 or arm64, found ${process.platform} on ${process.arch}`)
  }
  const { programs, steps } = needs[purpose]
  const fetched = steps.flatMap((step) => step.fetches?.() ?? [])
  const absent = missing(programs)
  if (!install && absent.length + fetched.length > 0) {
    refuse(`needs the packages ${[...absent, ...fetched].join(" ")}; nothing was installed`)
  }
  if (absent.length === 0 && steps.every((step) => step.isDone())) return

  const release = await lock(build)
  try {
    await bring(absent, fetched)
    for (const step of steps) {
      // Asked again each time: an earlier step may have undone or done it.
      if (!step.isDone()) await progress(step.name, step.isOptional === true ? () => attempt(step) : step.run)
    }
  } finally {
    release()
  }
}

/** A step that the product can do without, and then says so itself. It is tried again at the next start. */
const attempt = async (step) => {
  try {
    await step.run()
  } catch (error) {
    // An end that was asked for is one.
    if (!(error instanceof Refusal) || error.status !== 1) throw error
    say(`goes on without ${step.name}: ${error.message}`)
  }
}
