/**
 * Starts programs, so that one that cannot be started is told of and ends nobody else.
 *
 * Node throws for some reasons; for others it tells the child's listeners a moment later, and where nobody listens by
 * then, ends the whole process. Where no descriptors are left the child has no pipes at all, whatever its type says.
 */
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process"

/** Throws what is known at once; anything later is an `error` of the child, which does no harm if nobody listens. */
export const start = (program: string, words: ReadonlyArray<string>, options: SpawnOptions): ChildProcess => {
  const child = spawn(program, words, { cwd: "/", ...options })
  child.on("error", () => {})
  return child
}

/** By descriptor. Throws where there are none. */
export const pipesOf = (child: ChildProcess): ReadonlyArray<unknown> => {
  // Undefined where the system had no descriptors left for them.
  const pipes: ReadonlyArray<unknown> | undefined = child.stdio
  if (pipes === undefined) throw new Error("no descriptors are left for its pipes")
  return pipes
}
