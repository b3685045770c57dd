/**
 * Every metric, once: its name, its unit, and what one reads from it.
 *
 * Names follow OpenTelemetry: lower case, dots between namespaces, the unit beside the name and not in it, times in
 * seconds. They are counted whether or not anything is sent, and cost some hundred nanoseconds each.
 */
import { Metric } from "effect"

/** A trivial build takes tenths of a second, a kernel an hour. */
const secondsOfBuilds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600, 10_800, 36_000]

/** Builds that are waited for: queued, building or importing. */
export const activeBuilds = Metric.gauge("drover.build.active", {
  description: "Builds that have been asked for and have not ended",
  attributes: { unit: "{build}" }
})

/** By outcome. Its count is that of ended builds. */
export const buildDuration = Metric.histogram("drover.build.duration", {
  description: "From the first request for a build to its end",
  attributes: { unit: "s" },
  boundaries: secondsOfBuilds
})

/** By stage. Of `queue`, how long builds wait for cores and memory. */
export const stageDuration = Metric.histogram("drover.build.stage.duration", {
  description: "One stage of one attempt: queue, prepare, boot (a part of prepare), run, import",
  attributes: { unit: "s" },
  boundaries: secondsOfBuilds
})
