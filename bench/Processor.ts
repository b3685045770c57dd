/** Seconds of processor time that a process has had, all its threads together: to the nanosecond, and busy or not. */
import { readdirSync, readFileSync } from "node:fs"

export const seconds = (pid: number): number =>
  tasksOf(pid).reduce((sum, task) => {
    try {
      return sum + Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]) / 1e9
    } catch {
      // It has ended since it was listed.
      return sum
    }
  }, 0)

const tasksOf = (pid: number) => {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}
